"""The dialects against a real server, whose words the providers' own SDKs understand."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from dialect_cases import CLOSED_SCHEMA, TOOL_TURNS, WEATHER, a_request, assembled
from tests.mock_provider import MockProvider

from stillhouse.records import Message, Request
from stillhouse.teachers._dialects import (
    DIALECTS,
    MalformedAnswerError,
    Refusal,
    StreamRefusedError,
    read_refusal,
)
from stillhouse.teachers._providers import PROVIDERS

QUIRKS = {
    "openai_chat": PROVIDERS["openai"].quirks,
    "openai_responses": PROVIDERS["openai"].quirks,
    "anthropic": PROVIDERS["anthropic"].quirks,
    "gemini": PROVIDERS["google"].quirks,
}
ROOTS = {"openai_chat": "/v1", "openai_responses": "/v1", "anthropic": "", "gemini": ""}
NAMES = list(DIALECTS)


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def exchange(mock: MockProvider, name: str, request: Request, *, stream: bool) -> tuple[Any, bytes]:
    dialect = DIALECTS[name]
    body = dialect.body(request, model="m", quirks=QUIRKS[name], stream=stream)
    headers = dialect.headers("key") | {"Content-Type": "application/json"}
    url = mock.url + ROOTS[name] + dialect.path("m", stream=stream)
    asked = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked, timeout=10) as response:
        return response.headers, response.read()


def post(mock: MockProvider, name: str, request: Request, *, stream: bool) -> bytes:
    return exchange(mock, name, request, stream=stream)[1]


def both(mock: MockProvider, name: str, request: Request) -> tuple[Any, Any]:
    """The completion that came in one piece, and the one that was streamed."""
    plain = post(mock, name, request, stream=False)
    stream = assembled(name, post(mock, name, request, stream=True))
    assert stream.is_complete
    dialect = DIALECTS[name]
    return dialect.completion(plain, request), dialect.completion(stream.result(), request)


VOLATILE = {"created_utc": None}


def same(plain: Any, streamed: Any) -> bool:
    return bool(plain.model_copy(update=VOLATILE) == streamed.model_copy(update=VOLATILE))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "given", "kept"),
    [
        ("Hi", {}, "stop"),
        ("[[tokens=40]]", {"max_tokens": 16}, "length"),
        ("[[reason=30]] Hi", {"reasoning_effort": "high", "max_tokens": 4096}, "stop"),
        ("Hi", {"schema": CLOSED_SCHEMA}, "stop"),
        ("Weather in Bern?", {"tools": (WEATHER,)}, "tool_calls"),
        ("[[calls=2]] Weather?", {"tools": (WEATHER,)}, "tool_calls"),
        ("[[refuse]] Hi", {}, "content_filter"),
        ("[[filter]] [[tokens=40]]", {}, "content_filter"),
        ("[[block]] Hi", {}, "content_filter"),
        ("[[cached=3]] [[written=2]] [[audio=1]] Hi " + "there " * 20, {}, "stop"),
    ],
)
def test_a_streamed_answer_is_the_plain_one(
    mock: MockProvider, name: str, text: str, given: dict[str, Any], kept: str
) -> None:
    request = a_request(Message(role="user", content=text), **given)
    plain, streamed = both(mock, name, request)
    assert same(plain, streamed)
    assert plain.finish_reason == kept
    assert plain.usage.prompt_tokens > 0
    # OpenAI's own chat completions count their reasoning and never show it.
    assert bool(plain.reasoning) == ("[[reason" in text and name != "openai_chat")
    assert len(plain.tool_calls) == (2 if "[[calls=2" in text else "tools" in given)
    assert (plain.usage.cached_prompt_tokens == 3) == ("[[cached" in text)
    if "[[reason" in text:
        assert 30 <= plain.usage.reasoning_tokens < plain.usage.completion_tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_with_tools_is_taken(mock: MockProvider, name: str) -> None:
    plain, streamed = both(mock, name, a_request(*TOOL_TURNS, tools=(WEATHER,)))
    assert same(plain, streamed)
    assert plain.text or plain.tool_calls


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "gemini"])
def test_logprobs_are_the_same_in_a_stream(mock: MockProvider, name: str) -> None:
    asked = Message(role="user", content="[[outside]] [[tokens=12]]")
    plain, streamed = both(mock, name, a_request(asked, top_logprobs=5))
    assert same(plain, streamed)
    assert plain.logprobs.top_k == 5
    assert "".join(plain.logprobs.tokens) == plain.text
    assert (plain.logprobs.token_ids is not None) == (name == "gemini")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("bad_request", "bad_request"),
        ("unauthorized", "key_refused"),
        ("forbidden", "key_refused"),
        ("billing", "payment"),
        ("not_found", "model_missing"),
        ("too_large", "too_large"),
        ("conflict", "server_error"),
        ("timeout", "timeout"),
        ("quota", "quota"),
        ("rate_limit", "rate_limited"),
        ("server_error", "server_error"),
        ("bad_gateway", "server_error"),
        ("unavailable", "overloaded"),
        ("overloaded", "overloaded"),
        ("html_error", "server_error"),
    ],
)
def test_refusals_are_understood(mock: MockProvider, name: str, fault: str, kind: str) -> None:
    refusal = refused(mock, name, f"[[fault={fault}]] Hi")
    assert refusal.kind == kind
    if fault != "html_error":
        assert not refusal.message.startswith(("{", "status"))


@pytest.mark.parametrize(
    ("name", "form"),
    [(name, form) for name in NAMES for form in ("seconds", "ms", "date")]
    + [("gemini", "retry_info")],
)
def test_the_wait_is_read_in_the_form_it_has(mock: MockProvider, name: str, form: str) -> None:
    refusal = refused(mock, name, f"[[fault=rate_limit:wait_s=34,form={form}]] Hi")
    assert refusal.wait_s is not None
    assert 33.0 <= refusal.wait_s <= 35.0


def refused(mock: MockProvider, name: str, text: str) -> Refusal:
    request = a_request(Message(role="user", content=text))
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(mock, name, request, stream=False)
    with caught.value as response:
        return read_refusal(response.code, dict(response.headers), response.read())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["keep_alive", "shred", "crlf"])
def test_a_stream_that_comes_oddly_is_the_same(mock: MockProvider, name: str, fault: str) -> None:
    text = f"[[fault={fault}:delay_s=0]] [[tokens=12]]"
    plain, streamed = both(mock, name, a_request(Message(role="user", content=text)))
    assert same(plain, streamed)
    assert plain.text


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_complete_once_the_answer_is(mock: MockProvider, name: str) -> None:
    request = a_request(Message(role="user", content="[[fault=no_end]] [[tokens=12]]"))
    assembler = assembled(name, post(mock, name, request, stream=True))
    # Of chat, only the end mark and usage are missing: the answer is there, and paid.
    assert assembler.is_complete == (name == "openai_chat")


@pytest.mark.parametrize("name", NAMES)
def test_a_late_error_is_a_refusal(mock: MockProvider, name: str) -> None:
    request = a_request(Message(role="user", content="[[fault=late_error]] [[tokens=12]]"))
    with pytest.raises(StreamRefusedError) as caught:
        assembled(name, post(mock, name, request, stream=True))
    assert caught.value.refusal.is_retryable


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["torn_json", "empty", "html", "error_object", "bad_utf8"])
def test_what_is_no_answer_is_malformed(mock: MockProvider, name: str, fault: str) -> None:
    request = a_request(Message(role="user", content=f"[[fault={fault}]] Hi"))
    with pytest.raises(MalformedAnswerError):
        DIALECTS[name].outcome(post(mock, name, request, stream=False))


@pytest.mark.parametrize("name", NAMES)
def test_limits_are_read_from_the_headers(name: str) -> None:
    with MockProvider(limits={"rpm": 100, "tpm": 5000}) as limited:
        headers = dict(exchange(limited, name, a_request(), stream=False)[0])
    buckets = {reading.bucket: reading for reading in DIALECTS[name].limits(headers)}
    if name == "gemini":
        assert not buckets
        return
    assert buckets["requests"].limit == 100
    assert buckets["requests"].remaining == 99
    assert buckets["requests"].reset_s is not None


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_without_usage_is_read(mock: MockProvider, name: str) -> None:
    plain, streamed = both(
        mock, name, a_request(Message(role="user", content="[[fault=no_usage]] Hi"))
    )
    assert same(plain, streamed)
    assert plain.usage.completion_tokens == 0
