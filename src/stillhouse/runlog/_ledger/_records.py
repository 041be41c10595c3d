"""What a ledger tells about itself."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from stillhouse.records import FinishReason, Request
from stillhouse.runlog._answer import Answer

Outcome = FinishReason | Literal["open", "lost"]
"""How a call stands: as its answer says, under way, or lost with its process (maybe paid)."""

BatchState = Literal["opened", "running", "ended", "settled", "failed"]
"""`opened`: intents written, maybe created at the provider. `running`: has its remote id.
`ended`: results wait to be fetched. `settled`: all are recorded. `failed`: refused as a whole, so
that no request of it ran."""

FINAL_BATCH_STATES = ("settled", "failed")


RoomFrom = Literal["here", "elsewhere", "batches"]
"""Where calls are under way that may give back money: of this worker, of another one that is
alive, or in batches that were not settled."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """What a claim had no room for under its limit.

    Attributes:
        requests: Those without room, in order; the first of them does not fit.
        cap_usd: The limit.
        worst_usd: The most that the first can cost.
        spent_usd: What calls are known to have cost.
        held_usd: What is reserved for calls whose cost is not known, those under way included.
        room_from: What may make room for the first; empty where nothing can.
    """

    requests: list[Request]
    cap_usd: float
    worst_usd: float
    spent_usd: float
    held_usd: float
    room_from: frozenset[RoomFrom]

    @property
    def short_usd(self) -> float:
        """What the limit lacks for the first."""
        return max(0.0, self.spent_usd + self.held_usd + self.worst_usd - self.cap_usd)


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of a claim; requests that are in neither list have an answer, or are being asked.

    Attributes:
        requests: Those that are about to be sent, in order.
        shortage: What the limit had no room for, if anything.
        batch: What they were opened as, where that was asked and there are any.
    """

    requests: list[Request]
    shortage: Shortage | None = None
    batch: "Batch | None" = None


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A request that was sent and whose answer was never recorded: unknown, maybe paid.

    Attributes:
        request_id: What was asked.
        prompt_id: The prompt it was first asked for.
        teacher: Who was asked.
        sent_utc: When its intent was written.
        batch_id: The batch it is part of, if any.
        reserved_usd: The most that it can have cost, where that was given.
    """

    request_id: str
    prompt_id: str
    teacher: str
    sent_utc: datetime
    batch_id: str | None = None
    reserved_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request and the first answer to it.

    Attributes:
        request: What was asked.
        answer: What came back; never an error.
        raw_request: The body of the request as an application sent it, where that was kept.
    """

    request: Request
    answer: Answer
    raw_request: bytes | None = None


@dataclass(frozen=True, slots=True)
class LedgerTotals:
    """Sums over every call, of one teacher or of all.

    Attributes:
        num_requests: Different requests ever sent.
        num_calls: Times that one was sent.
        num_answered: Calls with an answer.
        num_failed: Calls that came back as an error.
        num_open: Calls under way, those of processes that are gone included until settled.
        num_lost: Calls whose process is gone: unknown, maybe paid.
        prompt_tokens: Read by teachers, as far as they said, cached ones included.
        completion_tokens: Written by teachers, as far as they said, reasoning included.
        cached_prompt_tokens: Of `prompt_tokens`, those read from a cache.
        reasoning_tokens: Of `completion_tokens`, those spent on reasoning.
        cost_usd: Of the calls whose cost is known; None when the price of an answer is not.
        unsettled_usd: Reserved for the calls whose cost is not known: the most that they can add.
    """

    num_requests: int
    num_calls: int
    num_answered: int
    num_failed: int
    num_open: int
    num_lost: int
    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    unsettled_usd: float


@dataclass(frozen=True, slots=True)
class OutcomeTotals:
    """Sums over the calls of one teacher that ended the same way.

    Attributes:
        teacher: Who was asked.
        outcome: How the calls ended.
        num_calls: How many there are.
        prompt_tokens: As in `LedgerTotals`.
        completion_tokens: As in `LedgerTotals`.
        cached_prompt_tokens: As in `LedgerTotals`.
        reasoning_tokens: As in `LedgerTotals`.
        cost_usd: Of the calls whose cost is known; None when the price of an answer is not.
        unsettled_usd: Reserved for the calls whose cost is not known.
        seconds: Time of the calls, added up.
    """

    teacher: str
    outcome: Outcome
    num_calls: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = 0.0
    unsettled_usd: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ReadPosition:
    """How far a file of prompts was read: each prompt before has been handed to `claim` once.

    Attributes:
        offset_bytes: Where the next prompt begins.
        num_rows: Prompts before.
        prefix_sha256: In hex, of what was given to read: of other prompts, it is no position.
    """

    offset_bytes: int
    num_rows: int
    prefix_sha256: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that were handed to a provider's batch API together.

    Attributes:
        id: Ours, random: give it to the provider (metadata, `custom_id`) to find the batch again.
        provider: Whose batch API it is.
        remote_id: The provider's name of it; None while it is not known to have been created.
        state: Where it stands.
        num_requests: How many it was opened with.
        created_utc: When its intents were written.
        settled_utc: When it became `settled` or `failed`.
        note: What was last said about it.
    """

    id: str
    provider: str
    remote_id: str | None
    state: BatchState
    num_requests: int
    created_utc: datetime
    settled_utc: datetime | None = None
    note: str = ""


def utc_of(milliseconds: int) -> datetime:
    """The time that a ledger wrote as whole milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
