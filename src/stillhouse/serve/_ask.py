"""What is asked of a student and what comes back, whatever the protocol on the wire."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from stillhouse.records import FinishReason, Message, Tool


class RefusedError(Exception):
    """A request that is not answered, and why, in the words of the wire.

    Args:
        status: HTTP status.
        message: One line: what was given, what is allowed, what to do.
        param: The field that is wrong.
        code: For programs.
        retry_after_s: When to try again, where that helps.
        allowed: The methods that a path takes, where another one was used.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        allowed: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.allowed = allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request.

    Attributes:
        messages: The conversation; empty where `text` is given.
        text: What is to be continued as it is, without any template.
        tools: What the student may call.
        must_call: Whether it has to call a tool.
        only_tool: The one that it has to call.
        schema: JSON schema of the answer, as JSON text; None for any text.
        num_choices: Answers wanted.
        max_tokens: Of one answer; None for what the server allows.
        temperature: 0 is greedy.
        top_p: Nucleus mass.
        seed: Of all randomness; None draws one.
        top_logprobs: Alternatives wanted for each token; None for no log-probabilities at all.
        stop: Texts before which an answer ends.
    """

    messages: tuple[Message, ...] = ()
    text: str | None = None
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    only_tool: str | None = None
    schema: str | None = None
    num_choices: int = 1
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    top_logprobs: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token with its log-probability at temperature 1, in nats.

    Attributes:
        text: What it writes; broken characters replaced.
        raw: What it writes, exactly.
        logprob: Of the token.
        top: The likeliest tokens there, with theirs.
    """

    text: str
    raw: bytes
    logprob: float
    top: tuple["TokenScore", ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """More of one answer.

    Attributes:
        index: Which answer.
        text: What is added; may be empty.
        scores: Of the tokens drawn since the last piece, where they were asked for.
        finish_reason: Why the answer ends here; None while it goes on.
        num_tokens: Of the whole answer so far, the end of turn included.
        began_s: When the answer was begun, by the clock of `monotonic`; None where that is unknown.
    """

    index: int
    text: str
    scores: tuple[TokenScore, ...] = ()
    finish_reason: FinishReason | None = None
    num_tokens: int = 0
    began_s: float | None = None


async def no_pieces() -> AsyncIterator[Piece]:
    """Of an answer that is not said in pieces, or not yet."""
    nothing: tuple[Piece, ...] = ()
    for piece in nothing:
        yield piece


def _nothing() -> None:
    return


@dataclass(slots=True)
class Answering:
    """A request under way.

    Attributes:
        num_prompt_tokens: What was read.
        pieces: What is said, until each answer has ended.
        headers: What the answer's HTTP headers tell beside.
        stop: Ends the work; nothing happens where it has ended.
    """

    num_prompt_tokens: int
    pieces: AsyncIterator[Piece]
    headers: dict[str, str] = field(default_factory=dict)
    stop: Callable[[], None] = _nothing


class Engine(Protocol):
    """A student that answers."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def num_running(self) -> int:
        """Answers under way."""
        ...

    async def open(self, ask: Ask) -> Answering:
        """Begin to answer.

        Raises:
            RefusedError: the request cannot be answered as it is.
        """
        ...

    async def close(self) -> None:
        """Release threads and weights; may be called twice."""
        ...
