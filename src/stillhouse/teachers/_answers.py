"""Between completions and the answers that a ledger keeps."""

from pydantic import ValidationError

from stillhouse.errors import ConfigError, IntegrityError, LogprobsUnavailableError
from stillhouse.records import Completion, ItemError, Request, Sampling, canonical_json
from stillhouse.runlog import Answer
from stillhouse.teachers._base import TeacherInfo

OWN_DIALECT = "completion"
"""The body is the canonical JSON of a `Completion`: teachers of ours speak in records."""


def answer_of(completion: Completion) -> Answer:
    """The answer that holds a completion made here."""
    return Answer(
        request_id=completion.request_id,
        dialect=OWN_DIALECT,
        body=canonical_json(completion),
        finish_reason=completion.finish_reason,
        model=completion.model,
        usage=completion.usage,
    )


def failed(request: Request, error: ItemError, *, model: str) -> Answer:
    """The answer that records why `request` has none."""
    return Answer(
        request_id=request.id,
        dialect=OWN_DIALECT,
        body=b"",
        finish_reason="error",
        model=model,
        error=error,
    )


def read_own(body: bytes, request: Request) -> Completion:
    """The completion in a body of our own dialect, under the request that asks now.

    Raises:
        IntegrityError: it is damaged.
    """
    try:
        completion = Completion.model_validate_json(body)
    except ValidationError as err:
        first = err.errors()[0]
        raise IntegrityError(
            f"The recorded answer to request {request.id[:16]} is damaged ({first['msg']}). "
            "Restore the ledger from a backup, or give another path to ask again."
        ) from err
    return completion.model_copy(
        update={
            "request_id": request.id,
            "prompt_id": request.prompt_id,
            "sample_index": request.sample_index,
            "teacher": request.teacher,
        }
    )


def check_labels(info: TeacherInfo, labels: tuple[str, ...], *, prompt_id: str) -> None:
    """Refuse to ask a teacher that only chooses among labels for anything else.

    Args:
        info: Of the teacher.
        labels: Of a prompt.
        prompt_id: The prompt, for the message.

    Raises:
        ConfigError: the prompt has no labels, or others than the teacher's.
    """
    if not info.needs_labels:
        return
    if not labels:
        raise ConfigError(
            f"{info.id} answers with one of a task's labels, and prompt {prompt_id!r} has none. "
            "Give a classification with one label a text (--task), or prompts with 'labels'."
        )
    if not info.labels or set(info.labels) == set(labels):
        return
    for what, some in (
        ("has", set(labels).difference(info.labels)),
        ("lacks", set(info.labels).difference(labels)),
    ):
        if some:
            raise ConfigError(
                f"{info.id} was fitted for other labels than those of prompt {prompt_id!r}, which "
                f"{what} {min(some)!r}. Give the task that it was fitted for, or fit it again."
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
