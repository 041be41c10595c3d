"""A fact: one value, where it comes from, and by which rule.

Documents hold facts at their leaves, so that what each leaf rests on is known by construction.
"""

from collections.abc import Iterable
from typing import Literal

from stillhouse.records import Record

Scalar = str | int | float | bool | None
SourceKind = Literal["manifest", "file", "rows", "about", "document"]

AS_RECORDED = "as recorded"
COUNTED = "counted in the rows"
DECLARED = "declared by the user"
FIXED = "fixed text of the document"
NOT_RECORDED = "not recorded"


class Source(Record):
    """One place that a value was read from, or looked for in.

    Attributes:
        kind: `manifest`; `file` is another JSON document of an artefact; `rows` are figures that
            were counted in Parquet files; `about` is the user's own file; `document` is the
            standard that asks for a text which is the same for everybody.
        record: The artefact's name in the documents, the user's file, or the standard.
        file: The file, or a pattern of files.
        sha256: Of the file; of rows their Merkle root; None where there is nothing to hash.
        pointer: JSON pointer (RFC 6901) of the value in the file; empty for the whole.
    """

    kind: SourceKind
    record: str
    file: str
    sha256: str | None
    pointer: str


class Fact(Record):
    """A value for a document.

    Attributes:
        value: None where no record holds it.
        sources: Where it was read, or looked for.
        rule: How the value came from the sources.
    """

    value: Scalar
    sources: tuple[Source, ...]
    rule: str = AS_RECORDED

    @property
    def is_known(self) -> bool:
        """Whether any record holds it."""
        return self.value is not None


def derived(value: Scalar, rule: str, *facts: Fact) -> Fact:
    """A value that was worked out from `facts`, with the sources of all of them."""
    return Fact(value=value, sources=merged_sources(facts), rule=rule)


def written(template: str, **facts: Fact) -> Fact:
    """Text with the values of `facts` in it; None where one of them is not recorded."""
    if not all(fact.is_known for fact in facts.values()):
        return derived(None, NOT_RECORDED, *facts.values())
    values = {name: shown(fact.value) for name, fact in facts.items()}
    return derived(template.format(**values), "text with the recorded values", *facts.values())


def first_known(*facts: Fact) -> Fact:
    """The first of `facts` that is recorded; else one that says where all were looked for."""
    known = next((fact for fact in facts if fact.is_known), None)
    return known or derived(None, NOT_RECORDED, *facts)


def listed(facts: Iterable[Fact], *, separator: str = ", ") -> Fact:
    """The distinct recorded values in one text, in order; None where there are none."""
    known = [fact for fact in facts if fact.is_known]
    values = list(dict.fromkeys(shown(fact.value) for fact in known))
    rule = "a list of the recorded values" if values else NOT_RECORDED
    return derived(separator.join(values) or None, rule, *known)


def merged_sources(facts: Iterable[Fact]) -> tuple[Source, ...]:
    """The sources of all `facts`, each once, in order."""
    return tuple(dict.fromkeys(source for fact in facts for source in fact.sources))


def shown(value: Scalar) -> str:
    """A value as documents write it: whole numbers with thousands apart, floats in six digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value
