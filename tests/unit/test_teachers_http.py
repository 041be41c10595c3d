import asyncio
import email.utils
import socket
import time
from itertools import chain
from typing import Any

import pytest
from aiohttp import web
from asking import answers, pull_from, requests_for
from loopback_chat import LoopbackChat, Respond, chat_json, echo, replies

from stillhouse.errors import (
    ConfigError,
    LogprobsUnavailableError,
    RateLimitedError,
    TeacherError,
    TeacherUnavailableError,
)
from stillhouse.records import Completion, Request
from stillhouse.teachers import TeacherInfo, open_teacher
from stillhouse.teachers._chat_client import ChatClient, ChatEndpoint, Retry, wait_asked_s
from stillhouse.teachers._http import HttpTeacher

KEY = "sk-very-secret"
INFO = TeacherInfo(id="http:m@localhost", provider="http", max_top_logprobs=20)
FAST = Retry(base_s=0.001, cap_s=0.004)


def teacher_for(server: LoopbackChat, **changes: Any) -> HttpTeacher:
    fields = {"base_url": server.url, "model": "m", "retry": FAST, **changes}
    return HttpTeacher(ChatEndpoint(**fields), INFO)


def ask(server: LoopbackChat, *requests: Request, **changes: Any) -> list[Completion]:
    with teacher_for(server, **changes) as teacher:
        return answers(teacher, list(requests) or requests_for("q"))


def refusing(status: int, message: str = "no", **fields: Any) -> Respond:
    body = {"error": {"message": message, **fields.pop("error", {})}}
    return replies(lambda: web.json_response(body, status=status, **fields))


def good() -> web.StreamResponse:
    return web.json_response(chat_json("good"))


def test_every_request_is_answered_once_with_bounded_concurrency() -> None:
    async def slow(number: int, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.005)
        return await echo(number, body)

    requests = requests_for(*(f"q{i}" for i in range(40)))
    with LoopbackChat(slow) as server:
        completions = ask(server, *requests, concurrency=4)
        assert len(server.bodies) == 40
        assert server.most_under_way == 4
    by_id = {completion.request_id: completion.text for completion in completions}
    assert by_id == {request.id: request.messages[0].content.upper() for request in requests}


def test_the_key_is_a_bearer_header_and_never_shown() -> None:
    with LoopbackChat() as server:
        ask(server, api_key=KEY)
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
        ask(server)
        assert "Authorization" not in server.headers[1]
        assert KEY not in repr(ChatEndpoint(base_url=server.url, model="m", api_key=KEY))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
def test_a_passing_failure_is_retried(status: int) -> None:
    with LoopbackChat(replies(lambda: web.Response(status=status), good)) as server:
        (completion,) = ask(server)
        assert completion.text == "good"
        assert len(server.bodies) == 2


def test_a_dropped_connection_is_retried() -> None:
    async def drop_first(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if number == 1:
            response = web.Response(text="{", headers={"Content-Length": "500"})
            response.force_close()
            return response
        return good()

    with LoopbackChat(drop_first) as server:
        (completion,) = ask(server, total_timeout_s=0.5)
        assert completion.text == "good"


def test_after_the_last_try_the_failure_is_an_item_that_may_be_asked_again() -> None:
    with LoopbackChat(refusing(500, "on fire")) as server:
        (completion,) = ask(server)
        assert len(server.bodies) == FAST.max_tries
    assert completion.finish_reason == "error"
    assert completion.error is not None
    assert completion.error.type == "server_error"
    assert completion.error.message == "500: on fire"
    assert completion.error.retryable


def test_a_slow_answer_times_out() -> None:
    async def never(number: int, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(30)
        return good()

    with LoopbackChat(never) as server:
        (completion,) = ask(server, total_timeout_s=0.05, retry=Retry(max_tries=2, base_s=0.001))
        assert len(server.bodies) == 2
    assert completion.error is not None
    assert completion.error.type == "timeout"
    assert "0.05 s" in completion.error.message


def test_malformed_json_is_an_item_that_says_what_was_malformed() -> None:
    with LoopbackChat(replies(lambda: web.Response(text='{"choices": [{'))) as server:
        (completion,) = ask(server)
        assert len(server.bodies) == FAST.max_tries
    assert completion.error is not None
    assert completion.error.type == "malformed_answer"
    assert "not JSON" in completion.error.message


def test_a_bad_request_fails_its_item_at_once_and_the_others_go_on() -> None:
    async def picky(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if body["messages"][0]["content"] == "bad":
            return web.json_response({"error": {"message": "too long"}}, status=400)
        return good()

    with LoopbackChat(picky) as server:
        completions = ask(server, *requests_for("a", "bad", "b"))
        assert len(server.bodies) == 3
    errors = [completion.error for completion in completions if completion.error]
    assert [(error.type, error.message, error.retryable) for error in errors] == [
        ("bad_request", "400: too long", False)
    ]
    assert sum(completion.text == "good" for completion in completions) == 2


def test_the_endpoint_decides_whether_to_retry() -> None:
    with LoopbackChat(refusing(500, headers={"x-should-retry": "false"})) as server:
        (completion,) = ask(server)
        assert len(server.bodies) == 1
        assert completion.error is not None
        assert not completion.error.retryable


def test_the_newer_name_of_the_token_limit_is_learnt_from_the_refusal() -> None:
    async def new_model(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if "max_tokens" in body:
            message = "Use 'max_completion_tokens' instead of 'max_tokens'."
            return web.json_response({"error": {"message": message}}, status=400)
        return good()

    with LoopbackChat(new_model) as server:
        completions = ask(server, *requests_for("a", "b", "c"), concurrency=1)
        assert [completion.text for completion in completions] == ["good"] * 3
        assert len(server.bodies) == 4


def test_retry_after_is_waited_for_by_every_request() -> None:
    limited = replies(
        lambda: web.Response(status=429, headers={"retry-after-ms": "200"}), good, good
    )
    with LoopbackChat(limited) as server:
        started_s = time.monotonic()
        ask(server, *requests_for("a", "b"), concurrency=1)
        assert time.monotonic() - started_s >= 0.2
        assert len(server.bodies) == 3


def test_the_three_forms_of_retry_after_are_read() -> None:
    assert wait_asked_s({"retry-after-ms": "1500", "Retry-After": "9"}) == 1.5
    assert wait_asked_s({"Retry-After": "2.5"}) == 2.5
    assert wait_asked_s({"Retry-After": "-1"}) == 0.0
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    waited = wait_asked_s({"Retry-After": date})
    assert waited is not None
    assert 55 < waited <= 60
    assert wait_asked_s({"Retry-After": "soon"}) is None
    assert wait_asked_s({"Retry-After": "inf"}) is None
    assert wait_asked_s({}) is None


def test_a_long_wait_ends_the_run_instead_of_sleeping_through_it() -> None:
    with (
        LoopbackChat(refusing(429, headers={"Retry-After": "7200"})) as server,
        pytest.raises(RateLimitedError, match="asks to wait 7200 s"),
    ):
        ask(server)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, {}, r"refuses the key in STILLHOUSE_API_KEY \(401: no\)"),
        (403, {}, "refuses the key"),
        (402, {}, "payment reasons"),
        (404, {}, "has no model 'm'"),
        (429, {"code": "insufficient_quota"}, "payment reasons"),
    ],
)
def test_what_no_further_request_can_pass_stops_at_once(
    status: int, error: dict[str, str], message: str
) -> None:
    with LoopbackChat(refusing(status, error=error)) as server:
        with pytest.raises(TeacherUnavailableError, match=message) as caught:
            ask(server, api_key=KEY)
        assert len(server.bodies) == 1
        assert server.url in str(caught.value)


def test_a_missing_key_is_asked_for_by_its_variable() -> None:
    with (
        LoopbackChat(refusing(401)) as server,
        pytest.raises(TeacherUnavailableError, match="Set STILLHOUSE_API_KEY"),
    ):
        ask(server)


def test_a_key_that_the_endpoint_echoes_is_masked_and_long_messages_are_cut() -> None:
    with LoopbackChat(refusing(401, f"bad key {KEY}\n" + "x" * 900)) as server:
        with pytest.raises(TeacherUnavailableError) as caught:
            ask(server, api_key=KEY)
        assert KEY not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 450


def test_a_redirect_is_not_followed() -> None:
    with LoopbackChat() as elsewhere:
        location = {"Location": f"{elsewhere.url}/chat/completions?token=1"}
        with (
            LoopbackChat(refusing(307, headers=location)) as server,
            pytest.raises(TeacherUnavailableError, match="redirects") as caught,
        ):
            ask(server, api_key=KEY)
        assert elsewhere.bodies == []
        assert "token=1" not in str(caught.value)


def test_answers_that_arrived_before_the_end_are_handed_over_first() -> None:
    async def quota_of_two(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if number <= 2:
            await asyncio.sleep(0.1)  # still under way when the third is refused
            return good()
        return web.json_response({"error": {"message": "empty"}}, status=402)

    received: list[Completion] = []
    with LoopbackChat(quota_of_two) as server, teacher_for(server, concurrency=3) as teacher:
        stream = teacher.stream(pull_from(requests_for(*"abcdef")))
        with pytest.raises(TeacherError):
            received.extend(chain.from_iterable(stream))
        assert len(server.bodies) == 3
    assert len(received) == 2


def test_an_unreachable_endpoint_is_named_with_host_and_port() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with (
        open_teacher(f"http://127.0.0.1:{port}/v1#m") as teacher,
        pytest.raises(TeacherUnavailableError, match=rf"127\.0\.0\.1:{port}"),
    ):
        list(teacher.stream(pull_from(requests_for("q"))))


def test_missing_logprobs_stop_the_stream() -> None:
    with LoopbackChat() as server, pytest.raises(LogprobsUnavailableError):
        ask(server, *requests_for("q", top_logprobs=3))


def test_a_stream_that_is_abandoned_cancels_what_is_under_way() -> None:
    async def first_is_quick(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if number > 1:
            await asyncio.sleep(30)
        return good()

    with LoopbackChat(first_is_quick) as server:
        started_s = time.monotonic()
        with teacher_for(server) as teacher:
            stream = teacher.stream(pull_from(requests_for(*"abc")))
            assert len(next(stream)) == 1
            stream.close()
        teacher.close()
        assert time.monotonic() - started_s < 10


def test_a_teacher_streams_again_after_a_stream_and_after_close() -> None:
    with LoopbackChat() as server, teacher_for(server) as teacher:
        for _ in range(2):
            assert sum(len(g) for g in teacher.stream(pull_from(requests_for("a", "b")))) == 2
        teacher.close()
        assert sum(len(g) for g in teacher.stream(pull_from(requests_for("c")))) == 1


def test_a_stream_works_inside_a_running_event_loop() -> None:
    async def in_a_notebook(server: LoopbackChat) -> int:
        return len(ask(server))

    with LoopbackChat() as server:
        assert asyncio.run(in_a_notebook(server)) == 1


def test_the_client_answers_one_request_on_the_callers_own_loop() -> None:
    async def one(server: LoopbackChat) -> Completion:
        client = ChatClient(ChatEndpoint(base_url=server.url, model="m"))
        try:
            return await client.answer(requests_for("q")[0])
        finally:
            await client.close()

    with LoopbackChat() as server:
        assert asyncio.run(one(server)).text == "Q"


@pytest.mark.parametrize(
    ("spec", "id_"),
    [
        ("http://127.0.0.1:8000/v1#org/model:7b", "http:org/model:7b@localhost"),
        ("http://localhost:9/v1#m", "http:m@localhost"),
        ("http://[::1]:9/v1#m", "http:m@localhost"),
        ("https://API.example.com/v1/#m", "http:m@api.example.com"),
        ("https://api.example.com:8443/v1#m", "http:m@api.example.com"),
    ],
)
def test_the_id_names_model_and_host_but_no_port(spec: str, id_: str) -> None:
    with open_teacher(spec) as teacher:
        assert teacher.info.id == id_
        assert teacher.info.provider == "http"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("http://host/v1", "names no model"),
        ("http:///v1#m", "names no host"),
        ("http://host:99999/v1#m", "port"),
        ("http://user:pw@host/v1#m", "holds a user or password"),
        ("http://host/v1?x=1#m", "query"),
    ],
)
def test_a_url_of_another_form_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_teacher(spec)
    assert "pw" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_API_KEY", "ab\ncd")
    with pytest.raises(ConfigError, match="STILLHOUSE_API_KEY") as caught:
        open_teacher("https://host/v1#m")
    assert "cd" not in str(caught.value)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_API_KEY", f" {KEY}\n")
    with LoopbackChat() as server, open_teacher(f"{server.url}#m") as teacher:
        list(teacher.stream(pull_from(requests_for("q"))))
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
