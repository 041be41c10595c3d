"""One request as the server sees it, from its arrival to its end.

What is on the way of a request, engines too, tells what it knows with `note`; nobody has to hand
the record on. A request's own task has it, and so has an audit that is begun there.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import Any

from stillhouse.serve._ask import Answering, Ask, Piece, RefusedError

_ID_BYTES = 12
_LONGEST_ID = 128


@dataclass(slots=True)
class SeenAnswer:
    """One answer so far."""

    texts: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    num_tokens: int = 0

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.texts)


@dataclass(slots=True)
class Seen:
    """What is known of a request.

    Attributes:
        id: The server's own.
        client_id: The caller's `x-request-id`, if it may be repeated.
        path: Which protocol it speaks.
        at_s: When it came, since 1970.
        started_s: The same, by the clock of `monotonic`.
        is_allowed: Whether its caller may ask.
        caller: Who that is: a digest of their key; empty where there are no keys.
        customer: Whose watermark key marks its answer; empty for the deployment's own.
        is_question: Whether it asks for an answer.
        model: As the caller names it.
        is_streamed: Whether the answer comes piece by piece.
        ask: What it asks, once that is read.
        told: Headers that say who answers, and why.
        facts: What else engines know: `confidence`, `novelty`, `is_audited`, `teacher`.
        answering: The answer under way.
        answers: What was said, by choice.
        began_s: When the answer was begun; None where that is unknown.
        first_s: When its first piece came.
        refused: Why it was not answered to its end.
        span: Of tracing.
        calls: Spans of calls that are under way.
        on_call: Begins one for a call of that model, and gives its headers.
        on_audit: Told what an audit came to.
    """

    id: str
    client_id: str | None
    path: str
    at_s: float
    started_s: float
    is_allowed: bool = False
    caller: str = ""
    customer: str = ""
    is_question: bool = False
    model: str = ""
    is_streamed: bool = False
    ask: Ask | None = None
    told: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    answering: Answering | None = None
    answers: dict[int, SeenAnswer] = field(default_factory=dict)
    began_s: float | None = None
    first_s: float | None = None
    refused: RefusedError | None = None
    span: Any = None
    calls: list[Any] = field(default_factory=list)
    on_call: "Callable[[Seen, str], dict[str, str]] | None" = None
    on_audit: "Callable[[Seen, Audit], None] | None" = None

    def follow(self, answering: Answering) -> None:
        """Look on while an answer is said."""
        self.answering = answering
        answering.pieces = self._followed(answering.pieces)

    def add(self, piece: Piece) -> None:
        """Take note of a piece."""
        if self.first_s is None:
            self.first_s = monotonic()
            self.began_s = piece.began_s
        answer = self.answers.get(piece.index)
        if answer is None:
            answer = self.answers[piece.index] = SeenAnswer()
        if piece.text:
            answer.texts.append(piece.text)
        if piece.finish_reason is not None:
            answer.finish_reason = piece.finish_reason
        answer.num_tokens = piece.num_tokens

    async def _followed(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
        async for piece in pieces:
            self.add(piece)
            yield piece


@dataclass(frozen=True, slots=True)
class Audit:
    """What a teacher says to a request that the student has answered.

    Attributes:
        ask: The request.
        given: The student's answer.
        answer: The teacher's.
        loss: 1 minus the score of one against the other.
        teacher: Which model it was.
        version: Of the rule.
    """

    ask: Ask
    given: str
    answer: str
    loss: float
    teacher: str
    version: str


_CURRENT: ContextVar[Seen | None] = ContextVar("seen", default=None)


def begin_seen(path: str, headers: Mapping[str, str]) -> Seen:
    """The record of a request that has just come."""
    given = headers.get("x-request-id", "")
    # It goes back in a header and into logs: what could not stand there is not repeated.
    is_sound = 0 < len(given) <= _LONGEST_ID and given.isascii() and given.isprintable()
    seen = Seen(
        id=f"req_{secrets.token_hex(_ID_BYTES)}",
        client_id=given if is_sound else None,
        path=path,
        at_s=time(),
        started_s=monotonic(),
    )
    _CURRENT.set(seen)
    return seen


def note(told: Mapping[str, str] | None = None, **facts: Any) -> None:
    """Add to what is known of the request under way, where there is one."""
    seen = _CURRENT.get()
    if seen is not None:
        seen.told |= told or {}
        seen.facts |= facts


def customer_asked() -> str:
    """Whose watermark key marks the answer to the request under way; empty for nobody's own."""
    seen = _CURRENT.get()
    return "" if seen is None else seen.customer


def begin_apart() -> None:
    """Go on beside the request under way, which may end before what is done here."""
    seen = _CURRENT.get()
    if seen is not None:
        _CURRENT.set(replace(seen, calls=[]))


def note_audit(audit: Audit) -> None:
    """Tell what an audit of the request under way came to."""
    seen = _CURRENT.get()
    if seen is not None and seen.on_audit is not None:
        seen.on_audit(seen, audit)


def call_headers(model: str) -> dict[str, str]:
    """What a call made for the request under way sends along, so that traces go on there."""
    seen = _CURRENT.get()
    return {} if seen is None or seen.on_call is None else seen.on_call(seen, model)


def end_calls() -> None:
    """The calls made for the request under way have ended."""
    seen = _CURRENT.get()
    while seen is not None and seen.calls:
        seen.calls.pop().end()
