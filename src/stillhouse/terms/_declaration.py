"""What only the user can say: what the student is for, and under which terms the accounts are."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from stillhouse.records import Record
from stillhouse.terms._records import Distribution, StudentKind


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


SourceIds = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
"""One source of the registry, or several that all apply."""


class Reading(Record):
    """How the user reads a clause that sources dispute."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    verdict: Literal["allow", "forbid"]
    """What the clause says to whoever has decided."""
    by: str = Field(min_length=1)
    """Who decided: a person or an office."""
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """When, as `2026-11-29` in quotes."""
    why: str = Field(min_length=1)
    """The grounds, and the text that was read."""


class Declaration(Record):
    """What the user states about the student. What is left out is not known, and never guessed."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    purpose: str = ""
    """What the student is for, in a sentence."""
    licensee: str = ""
    """Who makes the student, as waivers name the one whom they permit."""
    competes: bool | None = None
    """Whether the student competes with services of the owner of a teacher."""
    commercial: bool | None = None
    """Whether the student is used to earn money."""
    research: bool | None = None
    """Whether the student is for research or evaluation alone."""
    distribution: Distribution | None = None
    """Who gets at the student: `internal` (you alone), `service` (others ask it), `weights` (others
    get it)."""
    student: StudentKind | None = None
    """What is made; training tells by itself, collecting does not."""
    accounts: dict[str, SourceIds] = Field(default_factory=dict)
    """Provider, and the terms that your account there is under: `openai: openai-business`."""
    teachers: dict[str, SourceIds] = Field(default_factory=dict)
    """Pattern of teacher specs, and their terms: `"http://127.0.0.1:*": own`."""
    datasets: dict[str, SourceIds] = Field(default_factory=dict)
    """Pattern of files or names of data that others made, and their licences."""
    base_models: dict[str, SourceIds] = Field(default_factory=dict)
    """Pattern of the folders or names of base models, and their licences."""
    readings: dict[str, Reading] = Field(default_factory=dict)
    """Id of a disputed clause, and how you read it."""
    waivers: tuple[str, ...] = ()
    """Files with owners' signed permissions, beside this file."""
    trust: str | None = None
    """File with the public keys of owners that are trusted to permit, beside this file."""
    registries: tuple[str, ...] = ()
    """Files with sources of your own, beside this file; they win over those that come with it."""
