import json
from typing import Any

import pytest
from dialect_cases import raw

from stillhouse.teachers._dialects import DIALECTS, LimitReading, Refusal, read_refusal

CHAT, ANTHROPIC = DIALECTS["openai_chat"], DIALECTS["anthropic"]
DATE = "Tue, 24 Nov 2026 08:00:00 GMT"


def refused(status: int, error: Any = None, **headers: str) -> Refusal:
    body = b"" if error is None else raw(error)
    return read_refusal(status, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def openai_error(message: str = "m", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "t", "param": None, "code": None} | fields}


def anthropic_error(kind: str, message: str = "m") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}


def gemini_error(code: int, status: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": "m", "status": status, "details": list(details)}}


@pytest.mark.parametrize(
    ("status", "kind", "is_retryable", "stops"),
    [
        (307, "redirected", False, True),
        (400, "bad_request", False, False),
        (401, "key_refused", False, True),
        (402, "payment", False, True),
        (403, "key_refused", False, True),
        (404, "model_missing", False, True),
        (408, "timeout", True, False),
        (409, "server_error", True, False),
        (413, "too_large", False, False),
        (422, "bad_request", False, False),
        (429, "rate_limited", True, False),
        (498, "overloaded", True, False),
        (500, "server_error", True, False),
        (502, "server_error", True, False),
        (503, "overloaded", True, False),
        (504, "timeout", True, False),
        (524, "timeout", True, False),
        (529, "overloaded", True, False),
    ],
)
def test_a_status_alone_says_whether_to_ask_again(
    status: int, kind: str, is_retryable: bool, stops: bool
) -> None:
    for body in (b"", b"<html>no</html>", b"null", b'{"error":null}'):
        refusal = read_refusal(status, {}, body)
        assert (refusal.kind, refusal.is_retryable, refusal.stops_provider) == (
            kind,
            is_retryable,
            stops,
        )
        assert refusal.message
        assert refusal.wait_s is None


@pytest.mark.parametrize(
    ("status", "error", "kind", "stops"),
    [
        (429, openai_error(code="rate_limit_exceeded", type="tokens"), "rate_limited", False),
        (429, openai_error(code="insufficient_quota"), "quota", True),
        (429, openai_error(type="insufficient_quota"), "quota", True),
        (429, openai_error(type="exceeded_current_quota_error"), "quota", True),
        (
            429,
            openai_error("Allocated quota exceeded, please wait", code="insufficient_quota"),
            "rate_limited",
            False,
        ),
        (400, openai_error(code="context_length_exceeded"), "too_large", False),
        (400, openai_error(code="model_not_found"), "model_missing", True),
        (400, openai_error(code="content_filter"), "bad_request", False),
        (
            400,
            {"code": "Client specified an invalid argument", "error": "Incorrect API key provided"},
            "key_refused",
            True,
        ),
        (403, {"error": "You reached your monthly spending limit"}, "quota", True),
        (
            403,
            {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"]}}},
            "bad_request",
            False,
        ),
        (429, anthropic_error("rate_limit_error"), "rate_limited", False),
        (429, anthropic_error("rate_limit_error", "monthly spend limit reached"), "quota", True),
        (
            400,
            anthropic_error("invalid_request_error", "Your credit balance is too low"),
            "payment",
            True,
        ),
        (
            400,
            anthropic_error("invalid_request_error", "prompt is too long: 9 tokens"),
            "too_large",
            False,
        ),
        (401, anthropic_error("authentication_error"), "key_refused", True),
        (402, anthropic_error("billing_error"), "payment", True),
        (529, anthropic_error("overloaded_error"), "overloaded", False),
        (
            400,
            gemini_error(400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}),
            "key_refused",
            True,
        ),
        (429, gemini_error(429, "RESOURCE_EXHAUSTED"), "rate_limited", False),
        (
            429,
            gemini_error(
                429,
                "RESOURCE_EXHAUSTED",
                {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]},
            ),
            "quota",
            True,
        ),
        (
            429,
            [gemini_error(429, "RESOURCE_EXHAUSTED", {"violations": [{"quotaId": "PerDay"}]})],
            "quota",
            True,
        ),
        (500, openai_error(code="insufficient_quota"), "server_error", False),
    ],
)
def test_bodies_tell_apart_what_a_status_does_not(
    status: int, error: Any, kind: str, stops: bool
) -> None:
    refusal = refused(status, error)
    assert (refusal.kind, refusal.stops_provider) == (kind, stops)
    retryable = ("rate_limited", "overloaded", "server_error")
    assert refusal.is_retryable == (kind in retryable)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Logprobs is not enabled for models/gemini-2.5-pro"),
        (400, "Unable to submit request because Logprobs is not supported for this model."),
        (400, "Unrecognized request argument supplied: logprobs"),
        (400, "This model does not support the 'logprobs' parameter."),
        (403, "You are not allowed to request logprobs from this model"),
        (400, "`logprobs` is not supported with this model"),
        (400, "deepseek-reasoner does not support the parameter `top_logprobs`"),
        (400, "5 is greater than the maximum of 1 - 'logprobs'"),
        (422, "body.top_logprobs: Extra inputs are not permitted"),
    ],
)
def test_the_words_of_hosts_without_log_probabilities_are_known(status: int, message: str) -> None:
    refusal = refused(status, openai_error(message))
    assert (refusal.kind, refusal.is_retryable, refusal.stops_provider) == (
        "no_logprobs",
        False,
        True,
    )
    assert refused(401, openai_error(message)).kind == "key_refused"


def test_what_the_endpoint_says_of_retrying_wins() -> None:
    assert refused(500, x_should_retry="false").is_retryable is False
    assert refused(400, x_should_retry="true").is_retryable is True
    spend = refused(429, anthropic_error("rate_limit_error"), x_should_retry="false")
    assert (spend.kind, spend.is_retryable, spend.stops_provider) == ("quota", False, True)
    assert refused(500, x_should_retry="perhaps").is_retryable is True


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Tue, 24 Nov 2026 08:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 07:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Tue, 99 Nov 2026 08:00:30 GMT"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_headers_ask_for_is_read_in_all_forms(
    headers: dict[str, str], wait_s: float | None
) -> None:
    assert read_refusal(429, headers, b"").wait_s == wait_s


@pytest.mark.parametrize(
    ("delay", "wait_s"), [("34s", 34.0), ("0.5s", 0.5), ("1m4s", 64.0), ("34", 34.0), (34, None)]
)
def test_googles_retry_info_is_a_wait(delay: Any, wait_s: float | None) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    error = gemini_error(429, "RESOURCE_EXHAUSTED", {"@type": "x"}, info)
    assert read_refusal(429, {}, raw(error)).wait_s == wait_s
    assert read_refusal(429, {"retry-after": "2"}, raw(error)).wait_s == 2.0


def test_googles_words_for_every_limit_stop_only_where_no_wait_is_stated() -> None:
    words: dict[str, Any] = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}
    words["error"]["message"] = "You exceeded your current quota, please check your plan"
    assert read_refusal(429, {}, raw(words)).kind == "quota"
    assert read_refusal(429, {"retry-after": "3"}, raw(words)).kind == "rate_limited"
    words["error"]["message"] += ". Please retry in 34.07s."
    refusal = read_refusal(429, {}, raw(words))
    assert (refusal.kind, refusal.wait_s) == ("rate_limited", 34.07)


@pytest.mark.parametrize(("said", "wait_s"), [("6.5s", 6.5), ("1m30s", 90.0), ("59ms", 0.059)])
def test_a_wait_that_is_only_said_is_taken(said: str, wait_s: float) -> None:
    error = openai_error(f"Rate limit reached. Please try again in {said}. Visit x")
    assert refused(429, error).wait_s == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"no\\n way","code":"c"}}', "no way"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"detail":[{"msg":"x"}]}', '[{"msg":"x"}]'),
        (b'{"error":"plain"}', "plain"),
        (b'"plain"', "plain"),
        (b"\xff busy", "\ufffd busy"),
        (b"", "status 400 without a word"),
        (b'{"error":{"message":"' + b"x" * 500 + b'"}}', "x" * 197 + "..."),
        (b"[" * 600 + b"]" * 600, "an error nested too deep to be quoted"),
        (b'{"error":{"message":' + b"[" * 900 + b"]" * 900 + b"}}", "an error nested too deep to"),
    ],
)
def test_error_bodies_of_all_shapes_are_quoted_on_one_line(body: bytes, message: str) -> None:
    assert read_refusal(400, {}, body).message.startswith(message)


# Limits


def test_openai_limits_are_read_with_go_durations() -> None:
    headers = {
        "X-RateLimit-Limit-Requests": "5000",
        "x-ratelimit-remaining-requests": "4999",
        "x-ratelimit-reset-requests": "17ms",
        "x-ratelimit-limit-tokens": "160000",
        "x-ratelimit-remaining-tokens": "159976",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert CHAT.limits(headers) == (
        LimitReading("requests", 5000.0, 4999.0, 0.017),
        LimitReading("tokens", 160000.0, 159976.0, 360.0),
    )


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1h2m3.5s", 3723.5),
        ("59.9", 59.9),
        ("0s", 0.0),
        ("120us", 0.00012),
        ("120\u00b5s", 0.00012),
        ("1795507230", 30.0),
        ("1795507230000", 30.0),
        ("2026-11-24T08:00:30Z", 30.0),
        ("2026-11-24T08:00:30", None),
        ("6x", None),
        ("9" * 400 + "s", None),
        ("", None),
    ],
)
def test_a_reset_is_read_in_all_forms(reset: str, seconds: float | None) -> None:
    (reading,) = CHAT.limits({"x-ratelimit-reset-tokens": reset, "Date": DATE})
    assert reading.reset_s == (None if seconds is None else pytest.approx(seconds))
    assert (reading.limit, reading.remaining) == (None, None)


def test_anthropic_limits_are_read_with_moments() -> None:
    headers = {"date": DATE}
    for name in ("requests", "tokens", "input-tokens", "output-tokens"):
        headers |= {
            f"anthropic-ratelimit-{name}-limit": "100",
            f"anthropic-ratelimit-{name}-remaining": "40",
            f"anthropic-ratelimit-{name}-reset": "2026-11-24T09:01:00+01:00",
        }
    assert ANTHROPIC.limits(headers) == tuple(
        LimitReading(bucket, 100.0, 40.0, 60.0)
        for bucket in ("requests", "tokens", "input_tokens", "output_tokens")
    )


def test_limits_of_other_hosts_and_of_none_are_read() -> None:
    fireworks = {"x-ratelimit-limit-tokens-prompt": "60000"}
    assert CHAT.limits(fireworks) == (LimitReading("input_tokens", 60000.0, None, None),)
    broken = {"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "many"}
    assert CHAT.limits(broken) == (LimitReading("requests", None, None, None),)
    assert CHAT.limits({"content-type": "application/json"}) == ()


def test_no_key_is_in_a_message_that_the_endpoint_did_not_put_there() -> None:
    assert "secret" not in json.dumps(refused(401, authorization="Bearer secret").message)
