"""Refusals, in the words and headers of each provider."""

import math
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import orjson

WAIT_FORMS = ("none", "seconds", "ms", "date", "retry_info")


@dataclass(frozen=True, slots=True)
class Kind:
    """How the three providers say one thing: status, and names in the body."""

    status: int
    openai: tuple[str, str | None]
    anthropic: str
    gemini: str
    anthropic_status: int | None = None
    gemini_status: int | None = None


KINDS: dict[str, Kind] = {
    "invalid": Kind(400, ("invalid_request_error", None), "invalid_request_error",
                    "INVALID_ARGUMENT"),
    "key": Kind(401, ("invalid_request_error", "invalid_api_key"), "authentication_error",
                "INVALID_ARGUMENT", gemini_status=400),
    "billing": Kind(402, ("billing_error", "billing_not_active"), "billing_error",
                    "FAILED_PRECONDITION"),
    "permission": Kind(403, ("invalid_request_error", "unsupported_country_region_territory"),
                       "permission_error", "PERMISSION_DENIED"),
    "missing": Kind(404, ("invalid_request_error", "model_not_found"), "not_found_error",
                    "NOT_FOUND"),
    "timeout": Kind(408, ("timeout", None), "timeout_error", "DEADLINE_EXCEEDED",
                    anthropic_status=504, gemini_status=504),
    "conflict": Kind(409, ("conflict_error", None), "invalid_request_error", "ABORTED"),
    "too_large": Kind(413, ("invalid_request_error", "request_too_large"), "request_too_large",
                      "INVALID_ARGUMENT"),
    "rate_limited": Kind(429, ("requests", "rate_limit_exceeded"), "rate_limit_error",
                         "RESOURCE_EXHAUSTED"),
    "quota": Kind(429, ("insufficient_quota", "insufficient_quota"), "rate_limit_error",
                  "RESOURCE_EXHAUSTED"),
    "server_error": Kind(500, ("server_error", None), "api_error", "INTERNAL"),
    "bad_gateway": Kind(502, ("server_error", None), "api_error", "INTERNAL"),
    "unavailable": Kind(503, ("server_error", None), "api_error", "UNAVAILABLE"),
    "overloaded": Kind(503, ("server_error", "overloaded"), "overloaded_error", "UNAVAILABLE",
                       anthropic_status=529),
}  # fmt: skip

_QUOTA_MESSAGES = {
    "anthropic": "This request would exceed your organization's monthly spend limit.",
    "gemini": "You exceeded your current quota, please check your plan and billing details.",
}


class ApiError(Exception):
    """A refusal.

    Attributes:
        kind: A key of `KINDS`.
        wait_s: How long the client is asked to wait, where it is asked.
        form: How that is said: one of `WAIT_FORMS`.
        headers: More headers to send with it.
    """

    def __init__(
        self,
        kind: str,
        message: str = "",
        *,
        param: str | None = None,
        code: str | None = None,
        wait_s: float | None = None,
        form: str = "seconds",
    ) -> None:
        if form not in WAIT_FORMS:
            raise ValueError(f"no such form of a wait: {form!r}. There are {WAIT_FORMS}")
        super().__init__(message or f"The mock was told to say {kind}.")
        self.kind = kind
        self.param = param
        self.code = code
        self.wait_s = wait_s
        self.form = form
        self.headers: dict[str, str] = {}

    def status(self, family: str) -> int:
        """The HTTP status that this provider uses for it."""
        kind = KINDS[self.kind]
        special = {"anthropic": kind.anthropic_status, "gemini": kind.gemini_status}.get(family)
        return special or kind.status

    def body(self, family: str) -> bytes:
        """The body in the provider's words."""
        if self.kind == "quota" and family in _QUOTA_MESSAGES:
            self.args = (_QUOTA_MESSAGES[family],)
        return orjson.dumps(_BODIES[family](self))

    def wait_headers(self) -> dict[str, str]:
        """The header that asks the client to wait, if any."""
        if self.wait_s is None or self.form in ("none", "retry_info"):
            return {}
        if self.form == "ms":
            return {"retry-after-ms": str(round(self.wait_s * 1000))}
        if self.form == "date":
            return {"retry-after": formatdate(math.ceil(time.time() + self.wait_s), usegmt=True)}
        return {"retry-after": f"{self.wait_s:g}"}


def openai_error(error: ApiError) -> dict[str, Any]:
    """`{"error": {...}}` of OpenAI and those that speak like it."""
    kind, code = KINDS[error.kind].openai
    words = {"message": str(error), "type": kind, "param": error.param, "code": error.code or code}
    return {"error": words}


def anthropic_error(error: ApiError) -> dict[str, Any]:
    """Anthropic's error object."""
    words = {"type": KINDS[error.kind].anthropic, "message": str(error)}
    return {"type": "error", "error": words, "request_id": "req_mock"}


def gemini_error(error: ApiError) -> dict[str, Any]:
    """Google's error object, with the wait inside."""
    words: dict[str, Any] = {
        "code": error.status("gemini"),
        "message": str(error),
        "status": KINDS[error.kind].gemini,
    }
    details: list[dict[str, Any]] = []
    if error.kind == "key":
        info = "type.googleapis.com/google.rpc.ErrorInfo"
        details.append({"@type": info, "reason": "API_KEY_INVALID", "domain": "googleapis.com"})
    if error.wait_s is not None and error.form == "retry_info":
        info = "type.googleapis.com/google.rpc.RetryInfo"
        details.append({"@type": info, "retryDelay": f"{error.wait_s:g}s"})
    return {"error": {**words, "details": details} if details else words}


_BODIES = {"openai": openai_error, "anthropic": anthropic_error, "gemini": gemini_error}
