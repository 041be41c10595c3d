"""Teachers that are given by the URL of an endpoint: how they are named, and where the key goes."""

import asyncio
from itertools import chain
from typing import Any

import pytest
from aiohttp import web
from asking import answers, pull_from, raw_answers, requests_for
from loopback_chat import LoopbackChat, Respond, chat_json, replies

from stillhouse.errors import ConfigError, LogprobsUnavailableError, TeacherUnavailableError
from stillhouse.records import Completion, Request
from stillhouse.runlog import Answer
from stillhouse.teachers import Access, open_teacher

KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def _no_key_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STILLHOUSE_API_KEY", raising=False)


def ask(server: LoopbackChat, *requests: Request, **access: Any) -> list[Completion]:
    with open_teacher(f"{server.url}#m", Access(**access)) as teacher:
        return answers(teacher, list(requests) or requests_for("q"))


def refusing(status: int, message: str = "no", **fields: Any) -> Respond:
    body = {"error": {"message": message}}
    return replies(lambda: web.json_response(body, status=status, **fields))


def good() -> web.StreamResponse:
    return web.json_response(chat_json("good"))


def test_an_endpoint_answers_and_its_price_is_unknown() -> None:
    requests = requests_for("a", "b", "c")
    with LoopbackChat() as server:
        found = ask(server, *requests)
        assert len(server.bodies) == 3
        assert {body["model"] for body in server.bodies} == {"m"}
    assert {one.request_id: one.text for one in found} == {
        request.id: request.prompt_id.upper() for request in requests
    }
    assert {one.model for one in found} == {"m-2026-01-02"}
    assert {one.usage.cost_usd for one in found} == {None}


def test_the_key_comes_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STILLHOUSE_API_KEY", f" {KEY}\n")
    with LoopbackChat(refusing(401, f"bad key {KEY}\n" + "x" * 900)) as server:
        with pytest.raises(TeacherUnavailableError, match="STILLHOUSE_API_KEY") as caught:
            ask(server)
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 450


def test_a_missing_key_is_asked_for_by_its_variable() -> None:
    with (
        LoopbackChat(refusing(401)) as server,
        pytest.raises(TeacherUnavailableError, match="Set STILLHOUSE_API_KEY"),
    ):
        ask(server)
    assert "Authorization" not in server.headers[0]


def test_a_key_that_no_header_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_API_KEY", "ab\ncd")
    with pytest.raises(ConfigError, match="STILLHOUSE_API_KEY") as caught:
        open_teacher("https://host/v1#m")
    assert "cd" not in str(caught.value)


def test_a_key_over_plain_http_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STILLHOUSE_API_KEY", KEY)
    open_teacher("https://host/v1#m").close()
    open_teacher("http://127.0.0.1:9/v1#m").close()
    assert caplog.text == ""
    open_teacher("http://host/v1#m").close()
    assert "unencrypted" in caplog.text
    assert KEY not in caplog.text


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_API_KEY", KEY)
    with LoopbackChat() as elsewhere:
        location = {"Location": f"{elsewhere.url}/chat/completions?token=1"}
        with (
            LoopbackChat(refusing(307, headers=location)) as server,
            pytest.raises(TeacherUnavailableError, match="redirects") as caught,
        ):
            ask(server)
        assert elsewhere.bodies == []
        assert "token=1" not in str(caught.value)


def test_neither_proxies_nor_netrc_of_the_environment_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with LoopbackChat() as server:
        assert ask(server)[0].text == "Q"
    assert "Authorization" not in server.headers[0]


def test_the_newer_name_of_the_token_limit_is_learnt_from_the_refusal() -> None:
    async def new_model(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if "max_tokens" in body:
            message = "Use 'max_completion_tokens' instead of 'max_tokens'."
            return web.json_response({"error": {"message": message}}, status=400)
        return good()

    with LoopbackChat(new_model) as server:
        found = ask(server, *requests_for(*"abcdefgh"), concurrency=1)
        assert [completion.text for completion in found] == ["good"] * 8
        # Of the two that were in hand, the second had been written with the old name as well.
        assert sum("max_tokens" in body for body in server.bodies) <= 2


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_endpoint_that_leaves_log_probabilities_out_ends_the_stream(is_streamed: bool) -> None:
    async def without(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if not body.get("stream"):
            return good()
        choice = {"index": 0, "delta": {"content": "good"}, "finish_reason": "stop"}
        event = web.json_response({"model": "m", "choices": [choice]}).text
        return web.Response(
            text=f"data: {event}\n\ndata: [DONE]\n\n", content_type="text/event-stream"
        )

    with (
        LoopbackChat(without) as server,
        pytest.raises(LogprobsUnavailableError, match="top_logprobs=3"),
    ):
        ask(server, *requests_for(*"abcdef", top_logprobs=3), is_streamed=is_streamed)


def test_answers_that_arrived_before_the_end_are_handed_over_first() -> None:
    async def quota_of_two(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if number <= 2:
            await asyncio.sleep(0.1)  # still under way when the third is refused
            return good()
        return web.json_response({"error": {"message": "empty"}}, status=402)

    received: list[Answer] = []
    with (
        LoopbackChat(quota_of_two) as server,
        open_teacher(f"{server.url}#m", Access(concurrency=3)) as teacher,
    ):
        stream = teacher.stream(pull_from(requests_for(*"abcdef")))
        with pytest.raises(TeacherUnavailableError, match="payment"):
            received.extend(chain.from_iterable(stream))
        assert len(server.bodies) == 3
    assert sum(answer.error is None for answer in received) == 2
    # The other four had been taken in hand: they come back, to be asked again.
    assert [one.error.type for one in received if one.error] == ["not_sent"] * 4


def test_a_server_that_restarts_is_one_items_trouble_and_not_the_end() -> None:
    with LoopbackChat() as server:
        teacher = open_teacher(f"{server.url}#m", Access(timeout_s=2.0))
        assert raw_answers(teacher, requests_for("a"))[0].error is None
    with teacher:
        (answer,) = raw_answers(teacher, requests_for("b"))
    assert answer.error is not None
    assert (answer.error.type, answer.error.retryable) == ("connection", True)


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
        ("http://host:0/v1#m", "port of 0"),
        ("http://host:99999/v1#m", "port"),
        ("http://user:pw@host/v1#m", "holds a user or password"),
        ("http://host/v1?x=1#m", "query"),
    ],
)
def test_a_url_of_another_form_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_teacher(spec)
    assert "pw" not in str(caught.value)
