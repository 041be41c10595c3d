"""What passes between a batch API and whoever drives it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from stillhouse.records import ItemError
from stillhouse.teachers._dialects import Refusal

if TYPE_CHECKING:
    from stillhouse.teachers._batch._link import Link

QUEUE_FULL = "queue_full"
"""Type of the error of requests for which the provider's queue had no room: they cost nothing."""

_NAME_CHARS = 32  # of a request's hash: 128 bits; Anthropic allows 64 characters in all


class BatchRefusedError(Exception):
    """The provider refused a call, so that surely nothing came of it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class BatchUnclearError(Exception):
    """No answer came, or none that can be read: what was asked for may have been done."""


class BatchMissingError(Exception):
    """The provider does not know what was asked for by its name."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What fits into one batch."""

    num_requests: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A batch as its provider tells of it.

    Attributes:
        id: The provider's name of it.
        state: `running`; `ended`, with or without results; `failed`, where none of it ran.
        dialect: What the answers in it are written in.
        label: What we called it; None where the provider keeps no such thing.
        num_requests: How many it has; 0 where it does not say yet.
        num_done: How many are done, as far as the provider says before the end.
        created_utc: When it was created, None where that is not said.
        result_paths: Where its results are, in one or several files.
        unanswered: Why requests without a result were not worked on, nor paid; None where a
            result that is missing is not explained.
        note: What to remember of it, one line.
    """

    id: str
    state: Literal["running", "ended", "failed"]
    dialect: str
    label: str | None = None
    num_requests: int = 0
    num_done: int = 0
    created_utc: datetime | None = None
    result_paths: tuple[str, ...] = ()
    unanswered: ItemError | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The result of one request: the response's body, or why there is none.

    Attributes:
        name: What `name_of` gave.
    """

    name: str
    body: bytes = b""
    error: ItemError | None = None


@dataclass(frozen=True, slots=True)
class SoughtBatch:
    """A batch that was maybe created.

    Attributes:
        label: Our name of it.
        num_requests: How many it has.
        opened_utc: By our clock, before it can have been created.
        known: The provider's names of batches that are others.
    """

    label: str
    num_requests: int
    opened_utc: datetime
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """What a search for a batch came to.

    Attributes:
        remote: The batch, if it is there.
        is_unclear: Whether one that is still running, or could not be looked at, may turn out to
            be it.
    """

    remote: RemoteBatch | None = None
    is_unclear: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of requests on its way to a provider.

    Attributes:
        label: Our name of the batch.
        file: As `BatchWire.frame` and `line` wrote it.
        model: Who is asked.
        path: Of the dialect, for one request.
        dialect: What the requests are written in.
    """

    label: str
    file: BinaryIO = field(repr=False)
    model: str
    path: str
    dialect: str


class BatchWire(Protocol):
    """One provider's batch API.

    Its calls raise `BatchRefusedError`, `BatchUnclearError`, `BatchMissingError`, and
    `TeacherUnavailableError` where no call can succeed.
    """

    @property
    def limits(self) -> BatchLimits:
        """What fits into one batch."""
        ...

    @property
    def frame(self) -> tuple[bytes, bytes, bytes]:
        """What stands before the first line of a file, between two lines, and after the last."""
        ...

    def line(self, name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request, with the body and the path it has in the dialect."""
        ...

    async def create(self, link: "Link", upload: Upload) -> RemoteBatch:
        """Upload the requests and create their batch."""
        ...

    async def look(self, link: "Link", remote_id: str) -> RemoteBatch:
        """How a batch stands."""
        ...

    async def cancel(self, link: "Link", remote_id: str) -> None:
        """Stop a batch; what is done stays, and is paid."""
        ...

    def listed(self, link: "Link") -> AsyncGenerator[RemoteBatch, None]:
        """Every batch of the account, newest first."""
        ...

    def row(self, line: dict[str, Any]) -> ResultRow:
        """One line of a file of results.

        Raises:
            MalformedAnswerError: it is none.
        """
        ...


def item_error(refusal: Refusal) -> ItemError:
    """A refusal as the error of a request."""
    return ItemError(type=refusal.kind, message=refusal.message, retryable=refusal.is_retryable)


def time_of(value: Any) -> datetime | None:
    """A moment as a provider writes it: RFC 3339, or seconds since 1970; None for anything else."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is not None else None
        return datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def name_of(batch_id: str, request_id: str) -> str:
    """What a request is called within its batch: unique there, and tells whose batch it is."""
    return f"{batch_id}-{request_id[:_NAME_CHARS]}"
