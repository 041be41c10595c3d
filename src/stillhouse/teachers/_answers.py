"""Completions that a teacher of ours makes itself, rather than a model behind it."""

from datetime import UTC, datetime

from stillhouse.errors import LogprobsUnavailableError
from stillhouse.records import Completion, ItemError, Request, Sampling, Usage
from stillhouse.teachers._base import TeacherInfo


def failed(request: Request, error: ItemError, *, model: str) -> Completion:
    """The completion that records why `request` has no answer."""
    return Completion(
        request_id=request.id,
        prompt_id=request.prompt_id,
        sample_index=request.sample_index,
        text="",
        finish_reason="error",
        model=model,
        usage=Usage(),
        created_utc=datetime.now(UTC),
        error=error,
    )


def check_top_logprobs(info: TeacherInfo, sampling: Sampling) -> None:
    """Refuse to ask for more of the distribution than the teacher can give.

    Raises:
        LogprobsUnavailableError: `sampling.top_logprobs` is above the teacher's maximum; going on
            without them would be another experiment than the one asked for.
    """
    if sampling.top_logprobs <= info.max_top_logprobs:
        return
    limit = f"at most {info.max_top_logprobs}" if info.max_top_logprobs else "none"
    raise LogprobsUnavailableError(
        f"top_logprobs={sampling.top_logprobs} but teacher {info.id!r} returns {limit}. "
        "Lower it, or use a local teacher."
    )
