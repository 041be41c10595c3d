"""Verdicts in short: origins as `role source`, what is declared as keywords."""

from datetime import date
from typing import Any

from stillhouse.terms import (
    Declaration,
    Origin,
    Registry,
    Role,
    TermsRecord,
    judge,
    load_registry,
)

TODAY = date(2026, 11, 29)
_ROLES: dict[str, Role] = {"teacher": "teacher", "dataset": "dataset", "base": "base_model"}


def built_in() -> Registry:
    return load_registry(today=TODAY)


def origin(text: str, **fields: Any) -> Origin:
    """`teacher openai-business`; several sources are joined by `+`, none is `?`."""
    role, _, named = text.partition(" ")
    sources = () if named == "?" else tuple(named.split("+"))
    return Origin(role=_ROLES[role], name=f"a {named}", sources=sources, **fields)


def verdict_of(*origins: str | Origin, **declared: Any) -> TermsRecord:
    made = [origin(one) if isinstance(one, str) else one for one in origins]
    declaration = Declaration.model_validate(declared)
    return judge(made, declaration, registry=built_in(), today=TODAY)
