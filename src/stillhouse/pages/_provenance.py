"""What a page says of terms, duties and signatures, as small records in words."""

from dataclasses import dataclass

from stillhouse.pages._frame import Tile


@dataclass(frozen=True)
class TermsLine:
    """What the terms of one source say of one origin.

    Attributes:
        what: Origin and source.
        verdict: In words.
        is_allowed: Whether work may go on under it.
        details: Share of rows, clauses with dates, reasons.
        clauses: What the clauses say, to be unfolded.
    """

    what: str
    verdict: str
    is_allowed: bool
    details: tuple[str, ...]
    clauses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """The section "Provenance and terms" of a report.

    Attributes:
        verdict: In words; empty where no artefact recorded one.
        is_allowed: Whether it lets work go on.
        judged: When, and by which registry.
        lines: One for each origin and source.
        duties: What whoever has the student must do, with the clause that asks for it.
        signatures: Who signed which artefact when.
        notes: What is not recorded, or in the way.
        tiles: Figures of who pays.
    """

    verdict: str = ""
    is_allowed: bool = False
    judged: str = ""
    lines: tuple[TermsLine, ...] = ()
    duties: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tiles: tuple[Tile, ...] = ()
