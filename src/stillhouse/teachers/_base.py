"""What every teacher gives, whatever is behind it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from stillhouse.artifacts import WatermarkRef
from stillhouse.records import Request
from stillhouse.runlog import Answer
from stillhouse.teachers._costs import FREE, Price

if TYPE_CHECKING:
    from stillhouse.teachers._batch._client import BatchClient
    from stillhouse.teachers._caller import Caller

Pull = Callable[[int], list[Request]]
"""`pull(n)` hands out up to n more requests, at least one while any are left; an empty list ends
the stream. Whoever gave the pull has recorded those requests as sent before it returns."""


NOT_SENT = "not_sent"
"""The error of a request that was handed out and never asked: it costs nothing, and is no try."""


@dataclass(frozen=True)
class TeacherInfo:
    """What a teacher is.

    Attributes:
        id: Names the model that answers, stable over processes and machines: part of each
            request's identity. Never holds a key, a port or a path of this machine.
        provider: Who runs it: a name of the providers' table, or `local`, `gguf`, `http` (an
            address of which nothing is known), `replay` or `fake`.
        revision: Weights' fingerprint or the API's dated model name; None where unknown.
        max_top_logprobs: The largest `Sampling.top_logprobs` it can give; 0 means none.
        tokenizer_sha256: Fingerprint of its id-to-bytes map, where it gives token ids.
        chat_template_sha256: Hash of its chat template, where known.
        reads_labels: Whether it chooses among a prompt's labels, and tells the probability of each;
            to any other they are no part of what it is asked.
        needs_labels: Whether it answers no other prompts.
        labels: The only ones that it chooses among, in any order; empty where any will do.
        watermark: The profile that marks what it writes, where one does.
    """

    id: str
    provider: str
    revision: str | None = None
    max_top_logprobs: int = 0
    tokenizer_sha256: str | None = None
    chat_template_sha256: str | None = None
    reads_labels: bool = False
    needs_labels: bool = False
    labels: tuple[str, ...] = ()
    watermark: WatermarkRef | None = None


@dataclass(frozen=True)
class Allowance:
    """What asking a teacher costs and allows, as far as it is known before anything is sent.

    Attributes:
        price: None where no price is known.
        concurrency: Requests under way at once.
        requests_per_minute: What the user allows; None leaves it to the provider.
        tokens_per_minute: The same, of prompts and completions together.
    """

    price: Price | None = FREE
    concurrency: int = 1
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Teacher(Protocol):
    """Anything that answers prompts.

    `stream` is the one way to ask: the teacher pulls requests as it has room for them and yields
    answers in any order, in groups that arrived together. A request that fails is an `Answer` with
    an `error`; only what makes all further requests pointless (unreachable, key refused, model
    missing) raises a `TeacherError`. Implementations subclass this protocol and so get the context
    manager, and that they cost nothing.
    """

    @property
    def info(self) -> TeacherInfo:
        """What answers."""
        ...

    @property
    def allowance(self) -> Allowance:
        """What asking it costs and allows."""
        return Allowance()

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        """Answer everything that `pull` hands out.

        Raises:
            TeacherError: no further request can succeed.
        """
        ...

    def stop_when(self, is_over: Callable[[], bool]) -> None:
        """Ask nothing more once `is_over()` holds, which may be called from any thread.

        What was handed out by then comes back as `NOT_SENT`. It matters only where requests wait
        after they were pulled.
        """
        return

    def worst_cost_usd(self, request: Request) -> float | None:
        """The most that one call can cost; None where no price is known."""
        return 0.0

    def batch_client(self) -> "BatchClient | None":
        """How to ask it through a batch API; None where it has none. Closed with the teacher."""
        return None

    @property
    def caller(self) -> "Caller | None":
        """Who answers single requests within one event loop; None where only streams are answered.

        Whoever uses it closes it in that loop, and uses no stream beside it.
        """
        return None

    def metrics(self) -> Mapping[str, float]:
        """What a display may show of it, by the names of the metrics log."""
        return {}

    def close(self) -> None:
        """Release connections, threads and weights; may be called twice."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
