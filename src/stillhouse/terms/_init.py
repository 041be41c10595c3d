"""`terms.yaml` to begin with, and its JSON Schema for editors."""

import json
from typing import Any

from stillhouse.terms._declaration import Declaration

SCHEMA_FILE = "stillhouse-terms.schema.json"

_TEXT = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
# What you state about the student, for `--terms terms.yaml`, a config's `terms:` or the environment
# variable STILLHOUSE_TERMS. Verdicts rest on it; they are a record, not legal advice.
# What you leave out is not known, and what is not known never allows.

purpose: ""            # what the student is for, in a sentence
# licensee: NAME       # who makes it, as owners' waivers name you

# Uncomment what is so:
# competes: false            # true: the student competes with services of a teacher's owner
# commercial: false          # true: the student is used to earn money
# research: false            # true: for research or evaluation alone
# distribution: internal     # internal: you alone; service: others ask it; weights: others get it
# student: classifier        # or language_model; training tells by itself, collecting does not

# The terms of your accounts, where they are not the usual ones (stillhouse terms list):
# accounts:
#   openai: openai-business

# Whose models answer at addresses; `own` is a model of yours. The longest pattern that fits counts.
# teachers:
#   "http://127.0.0.1:*": own

# Data that others made, and base models whose folders do not state a licence:
# datasets:
#   "*/squad*": cc-by-sa-4.0
# base_models:
#   "local:models/mine": own

# How you read clauses that are disputed (stillhouse terms show SOURCE):
# readings:
#   hosted-groq/service: {{verdict: allow, by: NAME, date: "2026-11-29", why: "read on that day"}}

# Owners' signed permissions, and whose keys you trust (docs/terms.md):
# waivers: [waiver.json]
# trust: trust.yaml
"""


def declaration_text() -> str:
    """A commented `terms.yaml` that declares nothing yet."""
    return _TEXT


def declaration_schema() -> dict[str, Any]:
    """The JSON Schema of `terms.yaml`."""
    schema = Declaration.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """`declaration_schema` as the text of a file."""
    return json.dumps(declaration_schema(), indent=2) + "\n"
