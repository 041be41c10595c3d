"""Terms of teachers, data and base models: what their owners allow of a student.

The registry holds what owners wrote, in our words, with clause, date and the hash of what was
read; `judge` makes a verdict of it and of what the user declared. Unknown never allows. A record,
not legal advice. Importing this room loads no torch.
"""

from stillhouse.terms._declaration import Declaration, Reading
from stillhouse.terms._gate import allowed, check_allowed, judged, refusal
from stillhouse.terms._init import SCHEMA_FILE, declaration_schema, declaration_text, schema_text
from stillhouse.terms._judge import Origin, judge, merged
from stillhouse.terms._load import TERMS_VARIABLE, Terms, load_terms
from stillhouse.terms._origins import (
    OWN,
    base_origin,
    dataset_origin,
    declared_sources,
    model_sources,
    provider_origin,
    teacher_origin,
)
from stillhouse.terms._page import effect_text, registry_page, with_registry
from stillhouse.terms._records import (
    NOTE,
    ClauseRef,
    Conflict,
    Distribution,
    Duty,
    DutyKind,
    Role,
    SourceFinding,
    StudentKind,
    TermsRecord,
    Verdict,
    WaiverUse,
    is_allowed,
    strictest,
)
from stillhouse.terms._registry import REGISTRY_VERSION, Registry, load_registry
from stillhouse.terms._sources import Clause, Effect, Source, Text
from stillhouse.terms._waivers import WAIVER_TYPE, Permission, Waiver, read_waiver, write_waiver

__all__ = [
    "NOTE",
    "Verdict",
    "strictest",
    "is_allowed",
    "DutyKind",
    "Duty",
    "ClauseRef",
    "SourceFinding",
    "Conflict",
    "WaiverUse",
    "TermsRecord",
    "Role",
    "Distribution",
    "StudentKind",
    "Declaration",
    "Reading",
    "declaration_text",
    "declaration_schema",
    "schema_text",
    "SCHEMA_FILE",
    "Registry",
    "REGISTRY_VERSION",
    "load_registry",
    "registry_page",
    "with_registry",
    "effect_text",
    "Source",
    "Clause",
    "Effect",
    "Text",
    "Origin",
    "OWN",
    "teacher_origin",
    "provider_origin",
    "dataset_origin",
    "base_origin",
    "declared_sources",
    "model_sources",
    "judge",
    "merged",
    "Terms",
    "TERMS_VARIABLE",
    "load_terms",
    "judged",
    "allowed",
    "check_allowed",
    "refusal",
    "WAIVER_TYPE",
    "Permission",
    "Waiver",
    "read_waiver",
    "write_waiver",
]
