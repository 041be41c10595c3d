"""Every fault of the mock provider is what its name says, on the wire."""

import http.client
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import orjson
import pytest
from mock_calls import PATHS, Got, ask, call
from tests.mock_provider import AFTER_WORK, BEFORE_WORK, REFUSALS, Fault, MockProvider, headline

_LONG = "[[tokens=60]] x"
_DROPPED = (ConnectionError, http.client.HTTPException)


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def events_of(got: Got) -> list[bytes]:
    return [line[6:] for line in got.body.splitlines() if line.startswith(b"data: ")]


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("bad_request", (400, 400, 400)),
        ("unauthorized", (401, 401, 400)),
        ("billing", (402, 402, 402)),
        ("forbidden", (403, 403, 403)),
        ("not_found", (404, 404, 404)),
        ("timeout", (408, 504, 504)),
        ("conflict", (409, 409, 409)),
        ("too_large", (413, 413, 413)),
        ("rate_limit", (429, 429, 429)),
        ("quota", (429, 429, 429)),
        ("server_error", (500, 500, 500)),
        ("bad_gateway", (502, 502, 502)),
        ("unavailable", (503, 503, 503)),
        ("overloaded", (503, 529, 503)),
    ],
)
def test_refusals_have_each_providers_status_and_words(
    provider: MockProvider, kind: str, statuses: tuple[int, ...]
) -> None:
    dialects = ("openai_chat", "anthropic", "gemini")
    got = {dialect: ask(provider, dialect=dialect, fault=kind) for dialect in dialects}
    assert tuple(each.status for each in got.values()) == statuses
    assert set(got["openai_chat"].json["error"]) == {"message", "type", "param", "code"}
    assert got["anthropic"].json["type"] == "error"
    assert got["gemini"].json["error"]["code"] == statuses[2]
    assert provider.world.num_paid == 0


def test_there_is_a_test_of_every_refusal() -> None:
    marks = test_refusals_have_each_providers_status_and_words.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(REFUSALS)


def test_waits_are_asked_for_in_each_form(provider: MockProvider) -> None:
    def refused(form: str) -> Got:
        return ask(provider, dialect="gemini", fault=f"rate_limit:wait_s=34,form={form}")

    assert refused("seconds").headers["retry-after"] == "34"
    assert refused("ms").headers["retry-after-ms"] == "34000"
    date = parsedate_to_datetime(refused("date").headers["retry-after"])
    assert 33 < date.timestamp() - time.time() <= 35
    assert refused("retry_info").json["error"]["details"][0]["retryDelay"] == "34s"
    assert "retry-after" not in refused("none").headers


def test_a_reset_comes_before_any_header_and_nothing_was_done(provider: MockProvider) -> None:
    with pytest.raises(_DROPPED):
        ask(provider, fault="reset")
    assert provider.world.num_paid == 0


def test_a_lost_answer_was_paid_for(provider: MockProvider) -> None:
    with pytest.raises(_DROPPED):
        ask(provider, fault="lost")
    assert (provider.world.num_paid, provider.requests[0].is_paid) == (1, True)


@pytest.mark.parametrize(("kind", "num_paid"), [("hang", 0), ("late_hang", 1), ("stall", 1)])
def test_a_hang_says_no_more(provider: MockProvider, kind: str, num_paid: int) -> None:
    with pytest.raises(TimeoutError):
        ask(provider, _LONG, fault=kind, timeout_s=0.2)
    assert provider.world.num_paid == num_paid


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_ends_in_the_middle(provider: MockProvider, stream: bool) -> None:
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(provider, _LONG, stream=stream, fault="cut")
    whole = ask(provider, _LONG, stream=stream)
    assert whole.body.startswith(cut.value.partial)
    assert 0 < len(cut.value.partial) < len(whole.body)


@pytest.mark.parametrize("dialect", PATHS)
def test_a_stream_without_its_end_closes_in_good_order(
    provider: MockProvider, dialect: str
) -> None:
    whole = events_of(ask(provider, _LONG, dialect=dialect, stream=True))
    short = events_of(ask(provider, _LONG, dialect=dialect, stream=True, fault="no_end"))
    assert short == whole[: len(short)]
    assert 1 <= len(whole) - len(short) <= 2


@pytest.mark.parametrize("dialect", PATHS)
def test_a_late_error_comes_after_200_and_some_events(provider: MockProvider, dialect: str) -> None:
    got = ask(provider, _LONG, dialect=dialect, stream=True, fault="late_error")
    events = events_of(got)
    assert (got.status, len(events) > 10) == (200, True)
    last = orjson.loads(events[-1])
    assert "error" in last or last["type"] == "error"


@pytest.mark.parametrize("stream", [False, True])
def test_torn_json_cannot_be_read(provider: MockProvider, stream: bool) -> None:
    got = ask(provider, _LONG, stream=stream, fault="torn_json")
    torn = [each for each in events_of(got) if each != b"[DONE]"] if stream else [got.body]
    with pytest.raises(orjson.JSONDecodeError):
        [orjson.loads(each) for each in torn]


@pytest.mark.parametrize("stream", [False, True])
def test_bad_utf8_cannot_be_decoded(provider: MockProvider, stream: bool) -> None:
    got = ask(provider, _LONG, stream=stream, fault="bad_utf8")
    with pytest.raises(UnicodeDecodeError):
        got.body.decode()


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("stream", [False, True])
def test_usage_can_be_missing(provider: MockProvider, dialect: str, stream: bool) -> None:
    got = ask(provider, dialect=dialect, stream=stream, fault="no_usage")
    assert got.status == 200
    assert b'"usage"' not in got.body
    assert b'"usageMetadata"' not in got.body


def test_keep_alives_come_before_a_body_and_between_events(provider: MockProvider) -> None:
    whole = ask(provider, fault="keep_alive:delay_s=0")
    assert whole.body.startswith(b"\n\n\n{")
    assert whole.json["choices"][0]["message"]["content"] == headline("rain tonight")
    stream = ask(provider, stream=True, fault="keep_alive:delay_s=0")
    assert b": keep-alive\n\n" in stream.body
    assert events_of(stream) == events_of(ask(provider, stream=True))


@pytest.mark.parametrize("kind", ["shred", "drip:delay_s=0", "crlf"])
def test_pieces_and_line_ends_change_nothing_else(provider: MockProvider, kind: str) -> None:
    got = ask(provider, stream=True, fault=kind)
    assert events_of(got) == events_of(ask(provider, stream=True))
    assert (b"\r\n\r\n" in got.body) == (kind == "crlf")


def test_a_drip_takes_its_time(provider: MockProvider) -> None:
    started_s = time.monotonic()
    got = ask(provider, fault="drip:delay_s=0.02")
    assert time.monotonic() - started_s > 0.02 * (len(got.body) // 40)


def test_answers_of_the_wrong_kind(provider: MockProvider) -> None:
    page = ask(provider, fault="html")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert ask(provider, fault="html_error").status == 502
    assert ask(provider, fault="empty").body == b""
    error = ask(provider, fault="error_object")
    assert (error.status, error.json["error"]["type"]) == (200, "server_error")
    moved = ask(provider, fault="redirect")
    assert (moved.status, "moved" in moved.headers["location"]) == (307, True)
    plain = ask(provider, fault="late_type")
    assert plain.headers["content-type"].startswith("text/plain")
    assert plain.json["object"] == "chat.completion"


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_can_be_oversized(provider: MockProvider, stream: bool) -> None:
    got = ask(provider, stream=stream, fault="oversized:size_bytes=3000000")
    assert len(got.body) > 3_000_000


def test_every_fault_of_the_wire_is_in_a_test_of_this_file() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [kind for kind in (*BEFORE_WORK, *AFTER_WORK) if f'"{kind}' not in source] == []


def statuses(provider: MockProvider, num: int, **more: object) -> list[int]:
    return [ask(provider, **more).status for _ in range(num)]  # type: ignore[arg-type]


def test_faults_fit_by_number_share_and_content(provider: MockProvider) -> None:
    provider.change(faults=["server_error:nth=1+3"])
    assert statuses(provider, 4) == [500, 200, 500, 200]
    provider.change(faults=["server_error:every=2,contains=wind"])
    assert statuses(provider, 2) == [200, 200]
    assert statuses(provider, 4, text="wind") == [200, 500, 200, 500]
    provider.change(faults=["rate_limit:first=2"])
    assert statuses(provider, 3) == [429, 429, 200]
    provider.change(faults=["server_error:path=batches"])
    assert statuses(provider, 1) == [200]


def test_a_fault_of_the_first_tries_is_counted_for_each_request(provider: MockProvider) -> None:
    provider.change(faults=["server_error:times=1"])
    texts = ["a", "b", "a", "b", "a"]
    assert [ask(provider, text).status for text in texts] == [500, 500, 200, 200, 200]


def test_a_prompt_can_bring_its_own_fault(provider: MockProvider) -> None:
    text = "[[fault=overloaded:times=1]] rain tonight"
    assert [ask(provider, text).status for _ in range(2)] == [503, 200]
    answer = ask(provider, text).json["choices"][0]["message"]["content"]
    assert answer == headline("rain tonight")


def test_a_share_is_drawn_the_same_way_each_time() -> None:
    def run() -> list[int]:
        with MockProvider(faults=["server_error:probability=0.3,seed=4"]) as provider:
            return statuses(provider, 30)

    first = run()
    assert first == run()
    assert 3 <= first.count(500) <= 15


def test_what_is_no_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="no such fault"):
        Fault.parse("no_such")
    with pytest.raises(ValueError, match="no such fields"):
        Fault.parse("reset:howmuch=2")


def test_a_response_that_must_not_be_retried_says_so(provider: MockProvider) -> None:
    got = call(
        provider,
        "POST",
        PATHS["openai_chat"],
        b"{}",
        {"x-mock-fault": "server_error:should_retry=false"},
    )
    assert (got.status, got.headers["x-should-retry"]) == (500, "false")
