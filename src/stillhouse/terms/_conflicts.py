"""Duties that nobody can keep at once, once somebody else gets the student."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from stillhouse.terms._records import Conflict, Distribution, Duty, DutyKind

# What may be passed on under a later or another licence, as its own text or steward says:
# CC BY-SA 3.0, 4(b), and the list on creativecommons.org/compatiblelicenses.
_PASSES_TO = {
    ("CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    ("CC-BY-SA-4.0", "GPL-3.0"),
}
_AGAINST_SHARE_ALIKE: dict[DutyKind, str] = {
    "non_commercial": "it lets every recipient use the student commercially, which {other} forbids",
    "use_policy": "it allows no further terms, and {other} asks that its use limits be passed on",
    "no_redistribution": "it lets every recipient pass the student on, which {other} forbids",
}


def conflicts_of(duties: Sequence[Duty], distribution: Distribution | None) -> tuple[Conflict, ...]:
    """The contradictions among `duties` where the student goes to others.

    Args:
        duties: Of all origins, each once.
        distribution: Who gets at the student. Where it is not declared, a contradiction is not
            known to matter, which allows as little.
    """
    return tuple(_conflicts(duties, distribution))


def _conflicts(duties: Sequence[Duty], distribution: Distribution | None) -> Iterator[Conflict]:
    if distribution == "internal":
        return
    for one, other in combinations(duties, 2):
        if one.kind == other.kind == "name_prefix" and not _fit(one.value, other.value):
            yield _conflict(
                (one, other),
                distribution,
                f"A name cannot begin with {one.value!r} ({_whose(one)}) and with "
                f"{other.value!r} ({_whose(other)}).",
            )
    if distribution == "service":
        return
    for duty in duties:
        if duty.kind == "no_redistribution":
            yield _conflict(
                (duty,), distribution, f"{_whose(duty)} does not let the student be passed on."
            )
    for one, other in combinations(duties, 2):
        yield from _against_share_alike(one, other, distribution)


def _against_share_alike(
    one: Duty, other: Duty, distribution: Distribution | None
) -> Iterator[Conflict]:
    if other.kind == "share_alike":
        one, other = other, one
    if one.kind != "share_alike":
        return
    begins = f"The student would have to be under {one.value} ({_whose(one)})"
    if other.kind == "share_alike":
        if not _compatible(one.value, other.value):
            reason = f"{begins} and under {other.value} ({_whose(other)}), which do not mix."
            yield _conflict((one, other), distribution, reason)
    elif other.kind in _AGAINST_SHARE_ALIKE:
        why = _AGAINST_SHARE_ALIKE[other.kind].format(other=_whose(other))
        yield _conflict((one, other), distribution, f"{begins}; {why}.")


def _conflict(duties: tuple[Duty, ...], distribution: Distribution | None, reason: str) -> Conflict:
    if distribution is None:
        reason += " It matters if others get the student: declare 'distribution'."
        return Conflict(duties=duties, verdict="unknown", reason=reason)
    reason += " Leave one of them out, or keep the student to yourself."
    return Conflict(duties=duties, verdict="forbid", reason=reason)


def _fit(one: str, other: str) -> bool:
    """Whether a name can begin with both: `Llama 3 Small` begins with `Llama` too."""
    return one.startswith(other) or other.startswith(one)


def _compatible(one: str, other: str) -> bool:
    return one == other or (one, other) in _PASSES_TO or (other, one) in _PASSES_TO


def _whose(duty: Duty) -> str:
    return ", ".join(duty.sources)
