"""What economics found: the public schema of its `economics.json`."""

from typing import Any, Literal

import orjson
from pydantic import AwareDatetime, Field

from stillhouse.economics._break_even import BreakEvenVolume
from stillhouse.economics._range import Range
from stillhouse.records import Record

SCHEMA_VERSION: Literal[1] = 1

Basis = Literal["logged", "computed", "assumed", "unknown", "unrecorded"]
"""Where an amount is from: `logged` as it stands in the records, `computed` from logged tokens or
seconds, `assumed` from assumptions alone; `unknown` where something is missing, `unrecorded` where
no record of this chain speaks of any payment. The last two have no amount, which is never 0."""

PARTIES = (
    "maker",
    "operator",
    "teacher's owner",
    "machines and people",
    "users",
    "data authors",
)
"""Who may pay or earn; what is paid to `machines and people` leaves the chain."""


class Flow(Record):
    """One thing that somebody pays for, over the requests that the accounts are drawn up for."""

    item: str
    payer: str
    receiver: str
    usd: Range | None
    basis: Basis
    how: str
    """How it comes about, or what is missing."""


class Party(Record):
    """What one party pays and earns in all flows."""

    name: str
    pays_usd: float
    earns_usd: float
    num_unknown: int
    """Flows of it without an amount, which the sums lack."""


class Effect(Record):
    """What somebody bears, or loses, that is no payment."""

    name: str
    bearer: str
    usd: Range | None
    how: str


class Swing(Record):
    """How an outcome moves with one input, all else as it is."""

    name: str
    unit: str
    value: float
    half: float | None
    """The outcome with half the input; None where it then never pays back."""
    double: float | None


class Copying(Record):
    """A harvest of answers beside the training of the model that gave them."""

    name: str
    copy_usd: Range | None
    training_usd: Range | None
    ratio: Range | None
    """The one as a share of the other; None where one of them is unknown."""


class Licensing(Record):
    """At which royalty a licence is no dearer than evading it."""

    detection_probability: float
    penalty_usd: float | None
    evasion_usd: float
    ceiling_usd: float | None
    """For who minds only the mean, undiscounted."""
    discounted_usd: float | None
    """The same where the penalty is due later."""
    per_row_usd: float | None
    """Discounted, for one row of the dataset."""
    per_request_usd: float | None
    """Discounted, for one of the requests."""
    share_of_saving: float | None
    """Discounted, of what the student saves over the requests; None where it saves nothing."""
    forgone_usd: float | None
    """What the owner no longer earns over those requests, before the cost of computing it."""
    detection_needed: float | None
    """Chance of detection at which the royalty makes that good; None where none does."""


class Given(Record):
    """One assumption as it was used."""

    name: str
    value: Any
    default: Any
    unit: str
    source: str
    meaning: str

    @property
    def is_changed(self) -> bool:
        """Whether the user gave another value."""
        return bool(self.value != self.default)


class Economics(Record):
    """Who pays and who earns by a student."""

    schema_version: Literal[1] = SCHEMA_VERSION
    title: str = Field(min_length=1)
    verdict: str = Field(min_length=1)
    manifest_sha256: str
    made_utc: AwareDatetime
    """When the artefact was made."""
    teachers: tuple[str, ...]
    num_calls: int
    prompt_tokens: int
    completion_tokens: int
    requests: float
    """That the accounts are drawn up for."""
    fixed_usd: Range | None
    """Spent before the first request; None where a part of it is unknown."""
    teacher_usd: Range | None
    """One answer of the teacher."""
    student_usd: Range | None
    """One answer of the student."""
    teacher_share: Range | None
    """Requests for which the teacher is asked too."""
    refresh_usd: Range | None
    """Keeping the student fresh, by request."""
    saving_usd: Range | None
    """What one request saves."""
    break_even: BreakEvenVolume | None
    """None where something is unknown; `missing` then says what."""
    largest_teacher_share: float | None
    missing: tuple[str, ...]
    """What is unknown, and what to do about it."""
    flows: tuple[Flow, ...]
    parties: tuple[Party, ...]
    effects: tuple[Effect, ...]
    swings: tuple[Swing, ...]
    """Of the requests until it pays back; the widest first."""
    licence_swings: tuple[Swing, ...]
    """Of the highest royalty that sells, where the penalty is due later; the widest first."""
    copying: tuple[Copying, ...]
    licensing: Licensing
    assumptions: tuple[Given, ...]

    def to_bytes(self) -> bytes:
        """The bytes of `economics.json`."""
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json"), option=options)
