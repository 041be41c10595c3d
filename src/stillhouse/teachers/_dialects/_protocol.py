"""What every wire dialect gives: a body out, facts and a completion in.

A dialect is pure: it opens no connection, waits for nothing and keeps no state. Whoever holds the
connection asks it what to send, and what came back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from stillhouse.records import Completion, FinishReason, Request, Usage

BucketName = Literal["requests", "tokens", "input_tokens", "output_tokens"]
EffortForm = Literal["reasoning_effort", "reasoning", "thinking_effort", "enable_thinking"]


class MalformedAnswerError(ValueError):
    """The endpoint said 200 and sent something that is not an answer of its dialect.

    Attributes:
        usage: What it cost in tokens, None where it does not say: a broken answer is billed too.
    """

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where hosts of one dialect differ in what they take; answers are read without them.

    Attributes:
        max_tokens_field: What limits the completion, where the dialect has two names for it.
        seed_field: The field of the seed; None sends none, some hosts refuse what they do not know.
        states_defaults: Whether temperature and `top_p` are sent when they are 1. Where 1 is the
            default anyway they stay out, as reasoning models refuse the very fields.
        reasoning_field: Where an earlier turn's reasoning goes, beside its content.
        echoes_reasoning: In which of an assistant's turns it is sent back.
        effort_form: How a reasoning effort is written in chat completions.
        budget_models: Models, as a regular expression, that take a number of thinking tokens
            where newer ones of their dialect take an effort.
        reasoning_summary: What summary of its reasoning the Responses API is asked for.
        has_output_schema: Whether the host can hold an answer to a JSON Schema.
        max_top_logprobs: The most log-probabilities per token that it gives; 0 gives none.
        has_integer_logprobs: Whether `logprobs` is their number, not true or false.
        stream_options: What is asked of a stream; usage does not come unasked.
        extra: Fields that the host takes beyond the dialect, sent with every request.
    """

    max_tokens_field: str = "max_tokens"
    seed_field: str | None = "seed"
    states_defaults: bool = True
    reasoning_field: str = "reasoning_content"
    echoes_reasoning: Literal["never", "with_tool_calls", "always"] = "never"
    effort_form: EffortForm = "reasoning_effort"
    budget_models: str | None = None
    reasoning_summary: str | None = None
    has_output_schema: bool = True
    max_top_logprobs: int = 20
    has_integer_logprobs: bool = False
    stream_options: Mapping[str, Any] = field(default_factory=lambda: {"include_usage": True})
    extra: Mapping[str, Any] = field(default_factory=dict)

    def has_thinking_budget(self, model: str) -> bool:
        """Whether `model` takes a number of thinking tokens, not an effort."""
        return self.budget_models is not None and bool(re.match(self.budget_models, model))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The few facts of an answer that are needed at once.

    Attributes:
        finish_reason: Why the text ended.
        model: What the endpoint says answered.
        usage: Tokens, and the cost where the endpoint states it; seconds are not known here.
        response_id: The endpoint's name of the response, empty where it gives none.
    """

    finish_reason: FinishReason
    model: str
    usage: Usage
    response_id: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer with another status than 200, or an error event in a stream.

    Attributes:
        kind: `rate_limited`, `server_error`, `overloaded`, `timeout`, `bad_request`, `key_refused`,
            `payment`, `quota`, `model_missing`, `no_logprobs`, `too_large`, `redirected`.
        message: What the endpoint says, one line of at most 200 characters.
        is_retryable: Whether the same request may succeed later.
        stops_provider: Whether no other request can succeed either (key, payment, quota, model).
        wait_s: How long the endpoint asks to wait, None where it does not say.
    """

    kind: str
    message: str
    is_retryable: bool
    stops_provider: bool = False
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class LimitReading:
    """What an answer's headers say of one bucket of the account.

    Attributes:
        bucket: What is counted.
        limit: Its size, None where the headers do not say.
        remaining: What is left of it.
        reset_s: Seconds until it is full again.
    """

    bucket: BucketName
    limit: float | None
    remaining: float | None
    reset_s: float | None


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One server-sent event: its name (`message` where none is given) and its data."""

    name: str
    data: str


class StreamAssembler(Protocol):
    """Puts a stream together to the object that the endpoint would have sent in one piece."""

    def feed(self, event: SseEvent) -> None:
        """Take the next event.

        Raises:
            MalformedAnswerError: it is not of this dialect.
            StreamRefusedError: it reports an error.
        """
        ...

    def take_text(self) -> str:
        """The text of the answer that came since this was last called, without any reasoning."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the end of the answer was seen; a stream that stops before it was cut."""
        ...

    def result(self) -> bytes:
        """The body that `Dialect.outcome` and `Dialect.completion` read."""
        ...


class StreamRefusedError(Exception):
    """An error event in a stream that had begun with status 200."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Dialect(Protocol):
    """One wire protocol."""

    @property
    def name(self) -> str:
        """Its key in `DIALECTS`."""
        ...

    def path(self, model: str, *, stream: bool) -> str:
        """The path, and query, after the base URL."""
        ...

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Headers of every request, the key among them."""
        ...

    def body(
        self, request: Request, *, model: str, quirks: Quirks, stream: bool = False
    ) -> dict[str, Any]:
        """The JSON object that asks for one completion.

        Raises:
            ConfigError: the host has nothing for what the request asks.
            RecordError: the request holds what the dialect cannot say.
        """
        ...

    def outcome(self, body: bytes) -> Outcome:
        """The facts of an answer with status 200.

        Raises:
            MalformedAnswerError: it is not an answer of this dialect.
        """
        ...

    def completion(self, body: bytes, request: Request) -> Completion:
        """Everything in an answer with status 200: text, reasoning, tool calls, log-probabilities.

        Its seconds are not in it, nor a cost that the endpoint does not state.

        Raises:
            MalformedAnswerError: it is not an answer of this dialect.
            LogprobsUnavailableError: log-probabilities were asked for and there are none.
        """
        ...

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        """What the headers say of the account's limits; empty where they say nothing."""
        ...

    def assembler(self) -> StreamAssembler:
        """A fresh assembler for one stream."""
        ...
