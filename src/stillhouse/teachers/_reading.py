"""From a recorded answer to the completion in it: the pass that can be repeated at no cost."""

from datetime import UTC, datetime

from stillhouse.errors import IntegrityError
from stillhouse.records import Completion, Request
from stillhouse.runlog import Answer
from stillhouse.teachers._answers import OWN_DIALECT, read_own
from stillhouse.teachers._dialects import DECISIONS, DIALECTS

_READABLE = {**DIALECTS, DECISIONS.name: DECISIONS}


def read_answer(answer: Answer, request: Request) -> Completion:
    """The completion in `answer`, or the error that took its place, under the request that asks.

    The body alone says how it is read: no provider, key or connection is needed. Usage and time
    are the answer's own: cost, seconds and the time of a recorded answer stand there.

    Raises:
        MalformedAnswerError: the body is not an answer of its dialect.
        LogprobsUnavailableError: log-probabilities were asked for and there are none.
        IntegrityError: the body is damaged, or in a dialect that this version does not know.
    """
    if answer.error is not None:
        return _failed(answer, request)
    completion = _completion(answer, request)
    return completion.model_copy(
        update={
            "usage": answer.usage,
            "teacher": request.teacher,
            "created_utc": answer.answered_utc or completion.created_utc,
        }
    )


def _completion(answer: Answer, request: Request) -> Completion:
    if answer.dialect == OWN_DIALECT:
        return read_own(answer.body, request)
    dialect = _READABLE.get(answer.dialect)
    if dialect is None:
        raise IntegrityError(
            f"The recorded answer to request {request.id[:16]} is in the dialect "
            f"{answer.dialect!r}; this version knows {', '.join((OWN_DIALECT, *_READABLE))}. "
            "Use the version that recorded it, or a newer one."
        )
    return dialect.completion(answer.body, request)


def _failed(answer: Answer, request: Request) -> Completion:
    return Completion(
        request_id=request.id,
        prompt_id=request.prompt_id,
        sample_index=request.sample_index,
        text="",
        finish_reason="error",
        model=answer.model,
        usage=answer.usage,
        created_utc=answer.answered_utc or datetime.now(UTC),
        error=answer.error,
        teacher=request.teacher,
    )
