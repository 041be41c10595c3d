"""Facts and conditions over them, where a fact may be unknown (Kleene's three values)."""

from collections.abc import Iterator
from typing import NamedTuple

from stillhouse.terms._records import Distribution, Role, StudentKind
from stillhouse.terms._sources import When


class Facts(NamedTuple):
    """What is known of a student and of one origin; None is not known."""

    role: Role
    competes: bool | None
    commercial: bool | None
    research: bool | None
    distribution: Distribution | None
    student: StudentKind | None
    outside_family: bool | None
    share: float | None


class Truth(NamedTuple):
    """Whether something holds; None where that depends on `open_facts`."""

    value: bool | None
    open_facts: tuple[str, ...] = ()


def holds(when: When, facts: Facts) -> Truth:
    """Whether all that `when` asks for is so."""
    found = list(_parts(when, facts))
    if any(truth.value is False for truth in found):
        return Truth(False)
    open_facts = tuple(name for truth in found for name in truth.open_facts)
    return Truth(None, open_facts) if open_facts else Truth(True)


def outside_family(family: str | None, base_families: tuple[str | None, ...] | None) -> bool | None:
    """Whether a student with base models of these families leaves `family`; None: not known."""
    if base_families is None:
        return None
    return any(base != family for base in base_families)


def _parts(when: When, facts: Facts) -> Iterator[Truth]:
    if when.role:
        yield Truth(facts.role in when.role)
    for name in ("competes", "commercial", "research", "student"):
        wanted = getattr(when, name)
        if wanted is not None:
            yield _is(name, getattr(facts, name), wanted)
    if when.distribution:
        known = facts.distribution
        yield (
            Truth(None, ("distribution",)) if known is None else Truth(known in when.distribution)
        )
    if when.outside_family is not None:
        yield _is("base_models", facts.outside_family, when.outside_family)
    if when.share_above is not None:
        share = facts.share
        yield Truth(None, ("share of rows",)) if share is None else Truth(share > when.share_above)


def _is(name: str, known: object, wanted: object) -> Truth:
    return Truth(None, (name,)) if known is None else Truth(known == wanted)
