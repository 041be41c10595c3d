"""What comes of asking a teacher beside an answer: for the ledger, and for the client."""

from stillhouse.errors import (
    ConfigError,
    LogprobsUnavailableError,
    RecordError,
    StillhouseError,
)
from stillhouse.records import ItemError, Request, Usage
from stillhouse.runlog import Answer
from stillhouse.serve._ask import RefusedError
from stillhouse.teachers import NOT_SENT

_DIALECT = "completion"  # of an answer that has no body
_CALLERS_FAULT = frozenset({"bad_request", "too_large", "not_scripted", "not_recorded"})
_BUSY = frozenset({"rate_limited", "overloaded"})
_LATE = frozenset({"deadline", "timeout"})
SPENT = "teacher_budget_spent"
"""The code of a refusal for want of money."""


def unsent(request: Request) -> Answer:
    """The outcome of a request that was claimed and never sent: it costs nothing."""
    error = ItemError(type=NOT_SENT, message="the client went away before", retryable=True)
    return _without_answer(request, error, Usage(cost_usd=0.0))


def left(request: Request) -> Answer:
    """The outcome of a request whose client went away: what it cost is not known."""
    message = "the client went away before the answer was whole"
    error = ItemError(type="client_left", message=message, retryable=True)
    return _without_answer(request, error, Usage())


def failed(request: Request, err: Exception) -> Answer:
    """The outcome of a request that the teacher raised an error for."""
    error = ItemError(type=type(err).__name__, message=str(err)[:500], retryable=True)
    return _without_answer(request, error, Usage())


def _without_answer(request: Request, error: ItemError, usage: Usage) -> Answer:
    return Answer(
        request_id=request.id,
        dialect=_DIALECT,
        body=b"",
        finish_reason="error",
        model=request.teacher,
        usage=usage,
        error=error,
    )


def refusal_of(error: ItemError, teacher: str) -> RefusedError:
    """What an item's error is to the client: whose fault it was, in words for them."""
    if error.type in _CALLERS_FAULT:
        return RefusedError(400, f"The teacher {teacher} refuses: {error.message[:300]}")
    if error.type in _BUSY:
        return RefusedError(503, f"The teacher {teacher} is busy.", retry_after_s=1)
    if error.type in _LATE:
        return RefusedError(504, f"The teacher {teacher} did not answer in time.")
    if error.type == NOT_SENT:
        return RefusedError(502, f"The teacher {teacher} is not reached.")
    return RefusedError(502, f"The teacher {teacher} failed ({error.type}).")


def refusal_for(err: StillhouseError, teacher: str) -> RefusedError:
    """What an error of the teacher is to the client; what it says more is for the log."""
    if isinstance(err, ConfigError | RecordError | LogprobsUnavailableError):
        return RefusedError(400, f"The teacher {teacher} cannot be asked this: {err}")
    return RefusedError(502, f"The teacher {teacher} cannot be asked now.")


def budget_refusal(*, may_clear: bool) -> RefusedError:
    """What a spent budget is to the client; SDKs do not repeat a 402."""
    if may_clear:
        return RefusedError(
            503,
            "What is left of the teacher's budget is held by calls under way. Try again.",
            code="teacher_budget_held",
            retry_after_s=1,
        )
    return RefusedError(
        402,
        "The teacher's budget is spent. Whoever runs this server may raise it (--budget).",
        code=SPENT,
    )
