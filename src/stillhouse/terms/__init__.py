"""Terms of teachers, data and base models: what their owners allow of a student.

A record, not legal advice. Importing this room loads no torch.
"""

from stillhouse.terms._declaration import Declaration, Reading
from stillhouse.terms._records import (
    NOTE,
    ClauseRef,
    Conflict,
    Distribution,
    Duty,
    DutyKind,
    Role,
    SourceFinding,
    TermsRecord,
    Verdict,
    WaiverUse,
    is_allowed,
)

__all__ = [
    "NOTE",
    "Verdict",
    "DutyKind",
    "Duty",
    "ClauseRef",
    "SourceFinding",
    "Conflict",
    "WaiverUse",
    "TermsRecord",
    "Role",
    "Distribution",
    "Declaration",
    "Reading",
    "is_allowed",
]
