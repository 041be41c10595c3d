"""What a reading of an answer holds, whatever its dialect, and the records made of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stillhouse.errors import LogprobsUnavailableError
from stillhouse.records import (
    Completion,
    FinishReason,
    Request,
    TokenLogprobs,
    ToolCall,
    Usage,
)
from stillhouse.teachers._dialects._json import object_in
from stillhouse.teachers._dialects._protocol import MalformedAnswerError, Outcome

_LATEST_EPOCH_S = 32_503_680_000  # the year 3000; what is later is no time


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer with status 200, read once.

    Attributes:
        created: When it was made, as the endpoint wrote it; in seconds since 1970 if it is a time.
        label_probabilities: Of the labels to choose from, where it tells them.
    """

    finish_reason: FinishReason
    model: str
    usage: Usage
    response_id: str
    text: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    created: Any = None
    label_probabilities: dict[str, float] | None = None


def read_with_usage(
    data: dict[str, Any],
    usage_field: str,
    usage_of: Callable[[dict[str, Any]], Usage],
    reading_of: Callable[[dict[str, Any], Usage], Reading],
) -> Reading:
    """The reading of `data`; the error of one that cannot be read tells what it used all the same.

    Raises:
        MalformedAnswerError: it is not an answer.
    """
    given = object_in(data.get(usage_field), usage_field)
    usage = usage_of(given)
    try:
        return reading_of(data, usage)
    except MalformedAnswerError as err:
        err.usage = usage if given else None
        raise


def outcome_of(reading: Reading) -> Outcome:
    """The facts that are needed at once."""
    return Outcome(
        finish_reason=reading.finish_reason,
        model=reading.model,
        usage=reading.usage,
        response_id=reading.response_id,
    )


def completion_of(
    reading: Reading, request: Request, logprobs: TokenLogprobs | None = None
) -> Completion:
    """The whole reading under the request that it answers."""
    return Completion(
        request_id=request.id,
        prompt_id=request.prompt_id,
        sample_index=request.sample_index,
        text=reading.text,
        finish_reason=reading.finish_reason,
        model=reading.model,
        usage=reading.usage,
        created_utc=_time_of(reading.created),
        logprobs=logprobs,
        reasoning=reading.reasoning or None,
        tool_calls=reading.tool_calls,
        teacher=request.teacher,
        label_probabilities=reading.label_probabilities,
    )


def check_may_lack_logprobs(reading: Reading, asked: int) -> None:
    """Refuse an answer without the log-probabilities that were asked for.

    One without text has none, and refusals come without them everywhere.

    Raises:
        LogprobsUnavailableError: there is text of the model.
    """
    if reading.text and reading.finish_reason != "content_filter":
        raise LogprobsUnavailableError(
            f"top_logprobs={asked} but the endpoint answers without log-probabilities. "
            "Set top_logprobs to 0, or use a teacher that gives them."
        )


def name_in(value: Any) -> str:
    """A name that the endpoint may give, empty where it gives none."""
    return value if isinstance(value, str) else ""


def _time_of(created: Any) -> datetime:
    if type(created) in (int, float) and 0 < created < _LATEST_EPOCH_S:
        return datetime.fromtimestamp(created, UTC)
    return datetime.now(UTC)
