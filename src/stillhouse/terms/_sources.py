"""What a source of the registry is: texts that were read, clauses, and what each permits."""

import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from stillhouse.records import Record
from stillhouse.terms._records import Distribution, DutyKind, Role, StudentKind

Evidence = Literal["primary", "copy", "secondary", "recalled"]
"""`primary`: the owner's own publication was read; `copy`: somebody else's copy of it; `secondary`:
a description of it; `recalled`: nothing was read."""

_DATE = re.compile(r"^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$")
_ID = r"^[a-z0-9][a-z0-9.\-]*$"
_SHA256 = r"^[0-9a-f]{64}$"


def _check_date(value: str) -> str:
    found = _DATE.match(value)
    if not found:
        raise ValueError("give a year, a month or a day, such as '2004-01', in quotes")
    year, month, day = (int(part) if part else 1 for part in found.groups())
    date(year, month, day)  # its error names what is out of range
    return value


IsoDate = Annotated[str, AfterValidator(_check_date)]
"""A year, a month or a day: texts of licences do not always bear more."""


class TextSource(Record):
    """Where the bytes of a text that was read can be had."""

    repository: str
    commit: str
    path: str


class Text(Record):
    """A text that clauses stand in."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    url: str = Field(min_length=1)
    """Where the owner publishes it."""
    date: IsoDate
    """Which text it is."""
    date_of: Literal["text", "effective", "copy"]
    """What the date is of: the text itself, its effect, or the copy that was read where the text
    bears none."""
    read: IsoDate
    """When it was read."""
    evidence: Evidence
    """How well it is known."""
    sha256: str | None = Field(default=None, pattern=_SHA256)
    """Of the bytes that were read; null where none are held."""
    source: TextSource | None = None
    """Where these bytes can be had."""
    note: str = ""
    """What a reader should know of it."""

    @model_validator(mode="after")
    def _bytes_have_a_place(self) -> Self:
        if (self.sha256 is None) != (self.source is None):
            raise ValueError("sha256 and source go together: a hash is of bytes that can be had")
        if self.sha256 is not None and self.evidence not in ("primary", "copy"):
            raise ValueError(f"a text known as {self.evidence!r} has no bytes; leave sha256 out")
        return self


class When(Record):
    """Facts that must all hold; a fact that is left out does not matter."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    role: tuple[Role, ...] = ()
    """What the source is to the student: one of these."""
    competes: bool | None = None
    """Whether the student competes with the owner."""
    commercial: bool | None = None
    """Whether it is used to earn money."""
    research: bool | None = None
    """Whether it is for research or evaluation alone."""
    distribution: tuple[Distribution, ...] = ()
    """Who gets at it: one of these."""
    student: StudentKind | None = None
    """What is made."""
    outside_family: bool | None = None
    """Whether the student is made from a base model of another family than the source's."""
    share_above: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Whether more than this part of the rows comes from the source."""


class DutyTemplate(Record):
    """A duty before it is known whose it is."""

    kind: DutyKind
    value: str = Field(min_length=1)


class Effect(Record):
    """What a clause does where its facts hold: it forbids, leaves open, or asks for something."""

    when: When = When()
    unless: When | None = None
    verdict: Literal["forbid", "unknown"] | None = None
    duty: DutyTemplate | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.verdict is None) == (self.duty is None):
            raise ValueError("an effect has either a verdict or a duty")
        return self


class Clause(Record):
    """A clause: where it stands, what it says in our words, and what it does."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.\-]*/[A-Za-z0-9.\-]+$")
    """Id of the source, `/`, and the clause's own number or name."""
    text: str
    """Which of the source's texts it stands in."""
    summary: str = Field(min_length=1)
    """What it says, in our words."""
    disputed: str | None = Field(default=None, min_length=1)
    """Why it is not settled what it says; null where it is."""
    effects: tuple[Effect, ...] = ()
    """None permits, without a duty."""


class Source(Record):
    """The terms of one service, licence or owner."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str = Field(pattern=_ID)
    """What declarations call it."""
    title: str = Field(min_length=1)
    """What people call it."""
    owner: str = Field(min_length=1)
    """Who may permit what it forbids."""
    family: str | None = None
    """Of models: those of one family may improve each other where a clause says so."""
    providers: tuple[str, ...] = ()
    """Providers whose accounts are under it unless declared otherwise."""
    hosts_models: bool = False
    """Whether the provider serves other owners' models, whose licences hold beside it."""
    licenses: tuple[str, ...] = ()
    """What model cards, data cards and GGUF files call it."""
    texts: dict[str, Text] = Field(min_length=1)
    """By a name of ours."""
    clauses: tuple[Clause, ...] = Field(min_length=1)
    """All that matter here; what no clause says is allowed."""

    @model_validator(mode="after")
    def _clauses_are_its_own(self) -> Self:
        seen = set()
        for clause in self.clauses:
            if clause.id.split("/")[0] != self.id:
                raise ValueError(f"clause {clause.id!r} does not begin with '{self.id}/'")
            if clause.id in seen:
                raise ValueError(f"clause {clause.id!r} is there twice")
            seen.add(clause.id)
            text = self.texts.get(clause.text)
            if text is None:
                raise ValueError(f"clause {clause.id!r} stands in {clause.text!r}, no text of it")
            if text.evidence == "recalled" and clause.disputed is None:
                raise ValueError(f"clause {clause.id!r} was not read: say so under 'disputed'")
        return self
