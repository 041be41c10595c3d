"""Typed decisions: an endpoint chooses among labels and tells how probable it holds each.

`POST {base}/decisions` takes `model`, `kind`, `input.messages` and `options`; the answer has
`choice`, one of the options, and `probabilities` by option.
"""

import math
from collections.abc import Mapping
from typing import Any

from stillhouse.errors import ConfigError, RecordError
from stillhouse.records import Completion, Message, Request, Usage
from stillhouse.teachers._dialects._facts import (
    Reading,
    completion_of,
    name_in,
    outcome_of,
    read_with_usage,
)
from stillhouse.teachers._dialects._json import parse_object, shown
from stillhouse.teachers._dialects._limits import OPENAI_LIMITS, read_limits
from stillhouse.teachers._dialects._openai_chat_answer import chat_usage
from stillhouse.teachers._dialects._protocol import (
    LimitReading,
    MalformedAnswerError,
    Outcome,
    Quirks,
    StreamAssembler,
)
from stillhouse.teachers._dialects._refusals import words_of
from stillhouse.teachers._dialects._sampling import bearer

_ROUNDING = 0.01  # by which a few dozen rounded to three digits may sum to more than 1


class Decisions:
    """The dialect `decisions`."""

    name = "decisions"

    def path(self, model: str, *, stream: bool) -> str:
        """The same for every model."""
        return "/decisions"

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The key as a bearer token."""
        return bearer(api_key)

    def body(
        self, request: Request, *, model: str, quirks: Quirks, stream: bool = False
    ) -> dict[str, Any]:
        """One choice among the labels; sampling has no place in it."""
        if not request.labels:
            raise ConfigError(
                f"A decisions: teacher chooses among labels, and prompt {request.prompt_id!r} has "
                "none. Give a classification with one label a text (--task), or prompts with "
                "'labels'."
            )
        if request.tools or request.output_schema is not None:
            raise ConfigError(
                f"A decisions: teacher answers with a label, and prompt {request.prompt_id!r} has "
                "tools or an output_schema. Leave them out, or give another teacher."
            )
        return {
            "model": model,
            "kind": "choice",
            "input": {"messages": [_message(message) for message in request.messages]},
            "options": list(request.labels),
        }

    def outcome(self, body: bytes) -> Outcome:
        """Model, usage and id; a decision is never cut."""
        return outcome_of(_read(parse_object(body)))

    def completion(self, body: bytes, request: Request) -> Completion:
        """The choice as the text, with the probabilities of all labels that have one."""
        reading = _read(parse_object(body))
        _check_labels(reading, request)
        return completion_of(reading, request)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        """From `x-ratelimit-*`."""
        return read_limits(headers, OPENAI_LIMITS)

    def assembler(self) -> StreamAssembler:
        """None: a decision comes in one piece.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("A decision comes in one piece. Ask for it without stream.")


def _message(message: Message) -> dict[str, str]:
    if message.role == "tool" or message.tool_calls:
        raise RecordError("a decisions: teacher is not told of tool calls. Remove the prompt.")
    return {"role": message.role, "content": message.content}


def _read(data: dict[str, Any]) -> Reading:
    return read_with_usage(data, "usage", chat_usage, _reading)


def _reading(data: dict[str, Any], usage: Usage) -> Reading:
    choice = data.get("choice")
    if not isinstance(choice, str) or not choice:
        said = words_of(data.get("error"))
        raise MalformedAnswerError(f"choice is {shown(choice)}, not a label{said}")
    probabilities = _probabilities(data.get("probabilities"))
    if choice not in probabilities:
        raise MalformedAnswerError(f"probabilities has none of the choice {shown(choice)}")
    return Reading(
        finish_reason="stop",
        model=name_in(data.get("model")) or "unknown",
        usage=usage,
        response_id=name_in(data.get("id")),
        text=choice,
        created=data.get("created"),
        label_probabilities=probabilities,
    )


def _probabilities(given: Any) -> dict[str, float]:
    """By label; a sum that rounding took above 1 is 1."""
    if not isinstance(given, dict):
        raise MalformedAnswerError(f"probabilities is {shown(given)}, not an object")
    for label, probability in given.items():
        if type(probability) not in (int, float) or not 0.0 <= probability <= 1.0:
            raise MalformedAnswerError(
                f"the probability of {shown(label)} is {shown(probability)}, not 0 to 1"
            )
    total = math.fsum(given.values())
    if not 0.0 < total <= 1.0 + _ROUNDING:
        raise MalformedAnswerError(f"probabilities sum to {total:g}, not to 1")
    return {label: probability / max(total, 1.0) for label, probability in given.items()}


def _check_labels(reading: Reading, request: Request) -> None:
    """Refuse a choice, or a probability, of what was not there to choose from."""
    if not request.labels:  # a recorded answer, under a request that no longer tells
        return
    if reading.text not in request.labels:
        raise MalformedAnswerError(f"choice is {shown(reading.text)}, which is none of the options")
    if strange := (reading.label_probabilities or {}).keys() - set(request.labels):
        raise MalformedAnswerError(f"probabilities has {shown(min(strange))}, which is no option")
