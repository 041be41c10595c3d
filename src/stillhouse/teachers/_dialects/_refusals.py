"""What an endpoint means when it refuses: all dialects in one place, as their hosts mix them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from stillhouse.teachers._dialects._protocol import Refusal
from stillhouse.teachers._dialects._times import number_of, seconds_of, seconds_until

_QUOTED_CHARS = 200

_KIND_OF_STATUS = {
    400: "bad_request",
    401: "key_refused",
    402: "payment",
    403: "key_refused",
    404: "model_missing",
    408: "timeout",
    409: "server_error",
    410: "model_missing",
    413: "too_large",
    425: "server_error",
    429: "rate_limited",
    498: "overloaded",  # Groq, out of capacity
    503: "overloaded",
    504: "timeout",
    522: "timeout",  # Cloudflare, in front of many hosts
    524: "timeout",
    529: "overloaded",
}
_RETRYABLE = frozenset({"rate_limited", "server_error", "overloaded", "timeout"})
_STOPPING = frozenset(
    {"key_refused", "payment", "quota", "model_missing", "no_logprobs", "redirected"}
)

# An error inside a stream has no status: what its type or code would have had.
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

_KIND_OF_CODE = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "exceeded_current_quota_error": "quota",  # Moonshot
    "billing_not_active": "payment",
    "billing_error": "payment",
    "invalid_api_key": "key_refused",
    "authentication_error": "key_refused",
    "API_KEY_INVALID": "key_refused",
    "model_not_found": "model_missing",
    "DeploymentNotFound": "model_missing",  # Azure
    "context_length_exceeded": "too_large",
    "request_too_large": "too_large",
    "string_above_max_length": "too_large",
}
# What some hosts say in words only. Tried in order, on 4xx alone.
_KIND_OF_WORDS = (
    # DashScope calls its per-minute limit insufficient_quota.
    (re.compile(r"allocated quota exceeded", re.I), "rate_limited"),
    (re.compile(r"spend(ing)? (limit|cap)|specified API usage limits", re.I), "quota"),
    (re.compile(r"credit balance is too low|insufficient (balance|credit)", re.I), "payment"),
    (re.compile(r"(incorrect|invalid) api key|api key (not valid|expired)", re.I), "key_refused"),
    (re.compile(r"maximum context length|prompt is too long", re.I), "too_large"),
)
# OpenAI, Google, Groq, DeepSeek and Together each refuse the field in words of their own, OpenAI
# with 400 or 403: what they share is its name.
_NO_LOGPROBS = re.compile(r"\b(?:top_?|response_?)?log_?probs?\b", re.I)
_STATUSES_OF_FIELDS = frozenset({400, 403, 422})
# Google says this of every limit; one that ends by itself comes with a wait.
_OVER_QUOTA = re.compile(r"exceeded your current quota|credits are depleted", re.I)
_TRY_AGAIN = re.compile(r"(?:try again|retry) in ((?:\d+(?:\.\d+)?(?:h|ms|m|s))+)", re.I | re.ASCII)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The error object of any dialect, as far as the endpoint filled it in.

    Attributes:
        codes: Its code, type and status, the most telling first.
        message: One line of at most 200 characters.
        status: The HTTP status that it states, None where it states none.
        details: Further objects, as Google writes them.
        is_moderated: Whether the prompt was flagged, not the account.
    """

    codes: tuple[str, ...]
    message: str
    status: int | None = None
    details: tuple[dict[str, Any], ...] = ()
    is_moderated: bool = False


def parse_error(raw: bytes) -> ErrorBody:
    """What the endpoint says went wrong, whatever it is written in."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ErrorBody(codes=(), message=one_line(raw[:4000].decode("utf-8", "replace")))
    return error_of(data)


def error_of(data: Any) -> ErrorBody:
    """The same of what was read as JSON."""
    if isinstance(data, list) and data:  # Google, of a stream that was not asked for as events
        data = data[0]
    outer = data if isinstance(data, dict) else {"error": data}
    error = outer.get("error") or outer
    if not isinstance(error, dict):
        said = error if isinstance(error, str) else _quoted(error)
        error = {"code": outer.get("code"), "message": said}  # xAI
    found = (error.get("code"), error.get("type"), error.get("status"))
    details = error.get("details")
    details = details if isinstance(details, list) else []
    objects = tuple(detail for detail in details if isinstance(detail, dict))
    reasons = (detail.get("reason") for detail in objects)
    metadata = error.get("metadata")
    return ErrorBody(
        codes=tuple(code for code in (*reasons, *found) if isinstance(code, str)),
        message=one_line(_said(error)),
        status=next((code for code in found if _is_error_status(code)), None),
        details=objects,
        is_moderated=isinstance(metadata, dict) and "reasons" in metadata,  # OpenRouter
    )


def words_of(error: Any) -> str:
    """What an answer that is none says of an error, to be put behind our own words; maybe empty."""
    return f"; it says: {error_of(error).message}" if error else ""


def read_refusal(status: int, headers: Mapping[str, str], raw: bytes) -> Refusal:
    """What an answer with another status than 200 means."""
    error = parse_error(raw)
    return _refusal(status, error, {name.lower(): value for name, value in headers.items()})


def late_refusal(data: Any) -> Refusal:
    """What an error object in a stream means, which had begun with status 200."""
    error = error_of(data)
    return _refusal(error.status or _status_of(error.codes), error, {})


def one_line(text: str) -> str:
    """`text` on one line and cut at 200 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 3] + "..."


def _status_of(codes: tuple[str, ...]) -> int:
    for code in codes:
        if code in _STATUS_OF_TYPE:
            return _STATUS_OF_TYPE[code]
    return 400 if any(code in _KIND_OF_CODE for code in codes) else 500


def _refusal(status: int, error: ErrorBody, headers: Mapping[str, str]) -> Refusal:
    wait_s = _wait_s(headers, error)
    kind = _kind(status, error, is_wait_stated=wait_s is not None)
    is_retryable = kind in _RETRYABLE
    told = headers.get("x-should-retry", "").strip().lower()
    if told == "false" and kind == "rate_limited":
        kind = "quota"  # a spending limit: waiting does not help
    if told in ("true", "false"):
        is_retryable = told == "true"
    return Refusal(
        kind=kind,
        message=error.message or f"status {status} without a word",
        is_retryable=is_retryable,
        stops_provider=kind in _STOPPING and not is_retryable,
        wait_s=wait_s,
    )


def _kind(status: int, error: ErrorBody, *, is_wait_stated: bool) -> str:
    if 300 <= status < 400:
        return "redirected"
    if status >= 500:
        return _KIND_OF_STATUS.get(status, "server_error")
    if error.is_moderated:
        return "bad_request"
    by_words = next((kind for words, kind in _KIND_OF_WORDS if words.search(error.message)), None)
    by_code = next((_KIND_OF_CODE[code] for code in error.codes if code in _KIND_OF_CODE), None)
    if by_words is not None or by_code is not None:
        return by_words or by_code or ""
    if status in _STATUSES_OF_FIELDS and _NO_LOGPROBS.search(error.message):
        return "no_logprobs"
    is_over = not is_wait_stated and _OVER_QUOTA.search(error.message)
    if status == 429 and (is_over or _is_daily(error)):
        return "quota"
    return _KIND_OF_STATUS.get(status, "bad_request")


def _is_daily(error: ErrorBody) -> bool:
    """Whether a limit per day is used up, which Google says in the details."""
    for detail in error.details:
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else []:
            quota = violation.get("quotaId") if isinstance(violation, dict) else None
            if isinstance(quota, str) and "PerDay" in quota:
                return True
    return False


def _wait_s(headers: Mapping[str, str], error: ErrorBody) -> float | None:
    milliseconds = number_of(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return max(milliseconds / 1000.0, 0.0)
    wait_s = seconds_until(headers.get("retry-after", ""), headers)
    if wait_s is not None:
        return wait_s
    for detail in error.details:
        delay = detail.get("retryDelay")
        wait_s = seconds_of(delay) if isinstance(delay, str) else None
        if wait_s is not None:
            return max(wait_s, 0.0)
    said = _TRY_AGAIN.search(error.message)
    return seconds_of(said[1].lower()) if said else None


def _said(error: dict[str, Any]) -> str:
    message = error.get("message") or error.get("detail") or error
    return message if isinstance(message, str) else _quoted(message)


def _quoted(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "an error nested too deep to be quoted"


def _is_error_status(code: Any) -> bool:
    return type(code) is int and 400 <= code < 600
