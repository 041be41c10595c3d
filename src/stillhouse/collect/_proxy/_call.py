"""One call through the proxy, and what is recorded of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import orjson

from stillhouse.collect._imports._asked import Asked, request_of
from stillhouse.collect._imports._exchange import BadRowError
from stillhouse.collect._proxy._encoding import MOST_BYTES, EncodingError, decoded
from stillhouse.records import FinishReason, ItemError, Request, Usage
from stillhouse.runlog import Answer
from stillhouse.teachers._dialects import (
    DIALECTS,
    Dialect,
    MalformedAnswerError,
    SseEvent,
    SseParser,
    StreamRefusedError,
    read_refusal,
)

Ending = Literal["whole", "cut", "client_left", "proxy_stopped", "connection"]
"""How a call ended: with all that the provider had to say; in the middle, by the provider's doing,
the caller's or ours; or before anything came."""

CostOf = Callable[[str, Usage], float | None]
"""What a call of a model costs, None where no price is known."""

_MESSAGES: dict[Ending, str] = {
    "cut": "the provider's answer broke off",
    "client_left": "the caller went away before the answer was whole",
    "proxy_stopped": "the proxy was stopped before the answer was whole",
}


@dataclass(slots=True)
class Call:
    """What goes through the proxy for one request: written by the server, read by the recorder.

    Attributes:
        provider: Who is asked.
        dialect: Whose words it is in.
        model: Who is asked, where the path says it.
        raw_request: The body as it was sent.
        request_encoding: Its `Content-Encoding`.
        secrets: Keys in its headers, which are struck out of all that is recorded.
        status: Of the answer, None while there is none.
        headers: Of the answer.
        pieces: Of the answer's body, as they came.
        num_bytes: Of them all, kept or not.
        ending: How it ended.
        trouble: Why, in words, where no answer came.
        seconds: From the request to the last byte of the answer.
    """

    provider: str
    dialect: str
    model: str | None
    raw_request: bytes
    request_encoding: str = ""
    secrets: tuple[bytes, ...] = ()
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    num_bytes: int = 0
    ending: Ending = "whole"
    trouble: str = ""
    seconds: float = 0.0
    _started_s: float = field(default_factory=time.monotonic)

    def take(self, piece: bytes) -> None:
        """Keep the next piece of the answer, as long as it is not too much."""
        self.num_bytes += len(piece)
        if self.num_bytes <= MOST_BYTES:
            self.pieces.append(piece)

    @property
    def num_held(self) -> int:
        """Bytes of the answer that are kept in memory."""
        return sum(map(len, self.pieces))

    def end(self, ending: Ending, trouble: str = "") -> None:
        """Say how it ended, and stop the clock; what is said later does not count."""
        if self.seconds:
            return
        self.ending, self.trouble = ending, trouble
        self.seconds = time.monotonic() - self._started_s

    def without_secrets(self, body: bytes) -> bytes:
        """`body` with the keys of this call struck out."""
        for secret in self.secrets:
            if secret in body:
                body = body.replace(secret, b"***")
        return body


def asked_by(call: Call) -> tuple[Asked, bytes]:
    """What a call asks, and the request's body as it may be kept.

    Raises:
        BadRowError: the body is no request of its dialect, or one without an answer of its own.
    """
    try:
        raw = call.without_secrets(decoded(call.raw_request, call.request_encoding))
    except EncodingError as err:
        raise BadRowError("encoding", str(err)) from err
    asked = request_of(raw, call.dialect, model=call.model)
    if call.dialect == "openai_responses" and orjson.loads(raw).get("background") is True:
        raise BadRowError("background", "the answer is to be fetched later")
    return asked, raw


def answer_of(call: Call, request: Request, model: str, cost_of: CostOf) -> Answer:
    """What a call that has ended records as the answer to `request`: any outcome is one."""
    dialect = DIALECTS[call.dialect]
    reading = _Reading(call, dialect)
    usage, cost_usd = reading.usage, reading.usage.cost_usd
    if cost_usd is None and (usage.prompt_tokens or usage.completion_tokens):
        cost_usd = cost_of(model, usage)
    return Answer(
        request_id=request.id,
        dialect=dialect.name,
        body=reading.body,
        finish_reason="error" if reading.error is not None else reading.finish_reason,
        model=reading.model or model,
        usage=usage.model_copy(update={"cost_usd": cost_usd, "seconds": call.seconds}),
        response_id=reading.response_id,
        error=reading.error,
    )


class _Reading:
    """An ended call, read as far as it goes.

    Attributes:
        body: What is kept of the answer.
        error: Why it is none; None for an answer.
    """

    def __init__(self, call: Call, dialect: Dialect) -> None:
        self.body = b""
        self.error: ItemError | None = None
        self.usage = Usage()
        self.finish_reason: FinishReason = "error"
        self.model = ""
        self.response_id = ""
        self._call = call
        self._dialect = dialect
        self._read()

    def _read(self) -> None:
        call = self._call
        if call.num_bytes > MOST_BYTES:
            self._fail("too_large", f"an answer of {call.num_bytes} bytes; none over {MOST_BYTES}")
            return
        if call.status is None:
            self._fail(call.ending, call.trouble or _MESSAGES.get(call.ending, "no answer came"))
            return
        try:
            self.body = decoded(b"".join(call.pieces), call.headers.get("Content-Encoding", ""))
        except EncodingError as err:
            self._fail("malformed_answer", str(err))
            return
        if call.status != 200:
            self._refuse()
        else:
            self._answer()
        self.body = call.without_secrets(self.body)

    def _refuse(self) -> None:
        call = self._call
        assert call.status is not None
        refusal = read_refusal(call.status, call.headers, self.body)
        self._fail(refusal.kind, refusal.message, is_retryable=refusal.is_retryable)

    def _answer(self) -> None:
        call = self._call
        is_whole = call.ending == "whole"
        try:
            if _is_stream(call, self.body):
                # A caller may go as soon as it has read the end, before the connection's.
                is_whole = self._assemble()
            facts = self._dialect.outcome(self.body)
            self.usage, self.model = facts.usage, facts.model
            self.finish_reason, self.response_id = facts.finish_reason, facts.response_id
        except StreamRefusedError as err:
            refusal = err.refusal
            self._fail(refusal.kind, refusal.message, is_retryable=refusal.is_retryable)
            self._read_usage()
            return
        except MalformedAnswerError as err:
            self.usage = err.usage or self.usage
            if call.ending == "whole" and is_whole:
                message = f"not an answer of {self._dialect.name}: {err}"
                self._fail("malformed_answer", message, is_retryable=True)
                return
            is_whole = False
        if not is_whole:
            ending: Ending = "cut" if call.ending == "whole" else call.ending
            self._fail(ending, _MESSAGES[ending], is_retryable=True)

    def _read_usage(self) -> None:
        """What a broken answer says that it cost: it is billed too."""
        try:
            self.usage = self._dialect.outcome(self.body).usage
        except MalformedAnswerError as err:
            self.usage = err.usage or self.usage

    def _assemble(self) -> bool:
        """Put the stream together into the body; whether its end was in it."""
        assembler = self._dialect.assembler()
        try:
            for event in _events(self.body):
                assembler.feed(event)
        finally:
            self.body = assembler.result()
        return assembler.is_complete

    def _fail(self, kind: str, message: str, *, is_retryable: bool = False) -> None:
        text = self._call.without_secrets(message.encode("utf-8", "replace")).decode()
        self.error = ItemError(type=kind, message=text, retryable=is_retryable)


def _is_stream(call: Call, body: bytes) -> bool:
    if call.headers.get("Content-Type", "").startswith("text/event-stream"):
        return True
    # Without `alt=sse` Gemini streams one JSON array.
    return call.dialect == "gemini" and body.lstrip()[:1] == b"["


def _events(body: bytes) -> list[SseEvent]:
    if body.lstrip()[:1] != b"[":
        return SseParser().feed(body)
    try:
        chunks = orjson.loads(body)
    except orjson.JSONDecodeError as err:
        raise MalformedAnswerError(f"not JSON ({err}), {len(body)} bytes") from err
    return [SseEvent("message", orjson.dumps(chunk).decode()) for chunk in chunks]
