"""What can go wrong with one call: it comes back as an answer with an error, and nothing is lost.

A call that may have been worked on has no known cost, so that a budget keeps what was set aside
for it.
"""

import time
from collections.abc import Iterator

import pytest
from api_cases import NAMES, Bench, by_prompt, cost_of
from asking import raw_answers, requests_for
from tests.mock_provider import MockProvider

from stillhouse.runlog import Answer
from stillhouse.teachers import read_answer

BOTH = pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
BY_NAME = pytest.mark.parametrize("name", NAMES)

MAYBE_PAID = {
    "server_error": "server_error",
    "bad_gateway": "server_error",
    "html_error": "server_error",
    "timeout": "timeout",
    "lost": "connection",
    "reset": "connection",
    "cut": "connection",
    "torn_json": "malformed_answer",
    "bad_utf8": "malformed_answer",
    "html": "malformed_answer",
    "empty": "malformed_answer",
    "error_object": "malformed_answer",
}
"""Faults and the error that each becomes, of a whole answer."""

MAYBE_PAID_STREAMED = {
    # The error object is an event of no kind.
    **{kind: MAYBE_PAID[kind] for kind in MAYBE_PAID if kind != "error_object"},
    "late_error": "overloaded",
    # What is not an event is skipped, so that nothing is left of such a stream.
    "html": "cut",
    "empty": "cut",
}

NOT_PAID = {"bad_request": "bad_request", "too_large": "too_large"}
HARMLESS = ("keep_alive", "drip", "shred", "late_type", "no_usage")


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider() as mock:
        yield mock


@pytest.fixture
def bench(provider: MockProvider, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(provider, monkeypatch)


def ask(bench: Bench, name: str, *texts: str, **access: object) -> dict[str, Answer]:
    requests = requests_for(*texts)
    with bench.open(name, **access) as teacher:
        return by_prompt(teacher, requests, raw_answers(teacher, requests))


def with_fault(kind: str) -> str:
    return f"[[fault={kind}]] rain"


@BY_NAME
@BOTH
def test_a_call_that_may_be_paid_comes_back_as_an_error_that_may_pass(
    bench: Bench, name: str, is_streamed: bool
) -> None:
    expected = dict(MAYBE_PAID_STREAMED if is_streamed else MAYBE_PAID)
    if is_streamed and name in ("openai", "responses"):
        expected["late_error"] = "server_error"  # OpenAI's events have no word for overloaded
    if is_streamed and name != "openai":
        expected["no_end"] = "cut"
    num_before = bench.provider.count
    found = ask(bench, name, "good", *map(with_fault, expected), "too", is_streamed=is_streamed)
    # One call each: whether it is sent again is for whoever writes down what came back.
    assert bench.provider.count - num_before == len(expected) + 2
    assert [found[text].error for text in ("good", "too")] == [None, None]
    kinds = {}
    for kind in expected:
        answer = found[with_fault(kind)]
        assert answer.error is not None, kind
        assert answer.error.retryable, kind
        assert "\n" not in answer.error.message
        assert (answer.finish_reason, answer.body) == ("error", b"")
        assert answer.usage.cost_usd is None, kind
        kinds[kind] = answer.error.type
    assert kinds == expected


@BY_NAME
@BOTH
def test_what_is_turned_away_fails_its_item_alone(
    bench: Bench, name: str, is_streamed: bool
) -> None:
    found = ask(bench, name, "good", *map(with_fault, NOT_PAID), is_streamed=is_streamed)
    assert found["good"].error is None
    for kind, type_ in NOT_PAID.items():
        answer = found[with_fault(kind)]
        assert answer.error is not None
        assert (answer.error.type, answer.error.retryable) == (type_, False)
        assert answer.usage.cost_usd == 0.0


@BY_NAME
@BOTH
def test_odd_but_whole_answers_are_answers(bench: Bench, name: str, is_streamed: bool) -> None:
    kinds = (*HARMLESS, "crlf") if is_streamed else HARMLESS
    requests = requests_for("rain", *(with_fault(f"{kind}:delay_s=0.001") for kind in kinds))
    with bench.open(name, is_streamed=is_streamed) as teacher:
        found = raw_answers(teacher, requests)
    by_id = {request.id: request for request in requests}
    for answer in found:
        request = by_id[answer.request_id]
        assert answer.error is None, request.prompt_id
        assert read_answer(answer, request).text.startswith("Rain"), request.prompt_id
        usage = answer.usage
        if "no_usage" in request.prompt_id:
            assert (usage.prompt_tokens, usage.cost_usd) == (0, None)
        else:
            assert usage.cost_usd == cost_of(usage.prompt_tokens, usage.completion_tokens)


def test_a_chat_stream_without_its_end_has_the_whole_text_and_no_known_cost(bench: Bench) -> None:
    # The choice had ended; what is missing is usage and the mark of the end.
    text = with_fault("no_end")
    answer = ask(bench, "openai", text, is_streamed=True)[text]
    assert (answer.error, answer.finish_reason, answer.usage.cost_usd) == (None, "stop", None)
    assert read_answer(answer, requests_for(text)[0]).text.startswith("Rain")


@BY_NAME
@BOTH
@pytest.mark.parametrize("kind", ["hang", "late_hang", "stall"])
def test_silence_is_a_timeout(bench: Bench, name: str, is_streamed: bool, kind: str) -> None:
    started_s = time.monotonic()
    found = ask(bench, name, "good", with_fault(kind), is_streamed=is_streamed, timeout_s=0.25)
    assert 0.25 <= time.monotonic() - started_s < 5.0
    assert found["good"].error is None
    error = found[with_fault(kind)].error
    assert error is not None
    assert (error.type, error.retryable) == ("timeout", True)
    assert "0.25 s" in error.message
    assert found[with_fault(kind)].usage.cost_usd is None
    assert found[with_fault(kind)].usage.seconds >= 0.24


@BOTH
def test_a_body_without_end_is_cut_off_and_not_asked_again(bench: Bench, is_streamed: bool) -> None:
    text = with_fault("oversized:size_bytes=70000000")
    found = ask(bench, "openai", "good", text, is_streamed=is_streamed)
    assert found["good"].error is None
    error = found[text].error
    assert error is not None
    assert (error.type, error.retryable) == ("too_large", False)
    assert "67108864 bytes" in error.message


def test_a_deadline_ends_waits_of_every_kind(bench: Bench) -> None:
    texts = [with_fault("hang"), with_fault("rate_limit:wait_s=60")]
    started_s = time.monotonic()
    found = ask(bench, "openai", *texts, deadline_s=0.3)
    assert time.monotonic() - started_s < 5.0
    for answer in found.values():
        assert answer.error is not None
        assert (answer.error.type, answer.error.retryable) == ("deadline", False)
        assert "0.3 s" in answer.error.message
    # One was under way and may be on the bill; the other was turned away, and waited.
    assert [found[text].usage.cost_usd for text in texts] == [None, 0.0]


def test_a_deadline_leaves_no_place_taken(bench: Bench) -> None:
    texts = [with_fault(f"hang:nth={n + 1}") for n in range(6)]
    requests = requests_for(*texts)
    with bench.open("openai", concurrency=2, deadline_s=0.1) as teacher:
        first = raw_answers(teacher, requests)
        second = raw_answers(teacher, requests_for("a", "b", "c"))
    assert {answer.error.type for answer in first if answer.error} == {"deadline"}
    assert [answer.error for answer in second] == [None] * 3


@BY_NAME
def test_a_conflict_is_tried_again_at_once(bench: Bench, name: str) -> None:
    num_before = bench.provider.count
    found = ask(bench, name, with_fault("conflict:times=1"))
    assert found[with_fault("conflict:times=1")].error is None
    assert bench.provider.count - num_before == 2


def test_a_conflict_without_end_comes_back_as_a_try(bench: Bench) -> None:
    num_before = bench.provider.count
    error = ask(bench, "openai", with_fault("conflict"))[with_fault("conflict")].error
    assert error is not None
    assert (error.type, error.retryable) == ("server_error", True)
    assert bench.provider.count - num_before == 5


def test_what_the_provider_calls_final_is_final(bench: Bench) -> None:
    text = with_fault("server_error:should_retry=false")
    error = ask(bench, "openai", text)[text].error
    assert error is not None
    assert not error.retryable
