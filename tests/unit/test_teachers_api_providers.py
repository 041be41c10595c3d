"""Teachers of four providers: what they answer, what it costs, and what ends them."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from itertools import zip_longest

import orjson
import pytest
from api_cases import DIALECT_OF, NAMES, Bench, by_prompt, cost_of
from asking import answers, pull_from, raw_answers, requests_for
from batch_cases import APIS
from tests.mock_provider import MockProvider, headline

from stillhouse.errors import (
    BudgetExceededError,
    ConfigError,
    LogprobsUnavailableError,
    RateLimitedError,
    StillhouseError,
    TeacherError,
    TeacherUnavailableError,
)
from stillhouse.records import Request
from stillhouse.runlog import Answer
from stillhouse.teachers import Access, Teacher, open_teacher, read_answer

SECRET = "sk-very-secret-indeed"
TEXTS = [f"rain number {n} of the day" for n in range(12)]


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with MockProvider() as mock:
        yield mock


@pytest.fixture
def bench(provider: MockProvider, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(provider, monkeypatch)


def drain(teacher: Teacher, requests: list[Request], received: list[Answer]) -> None:
    """Take what comes until the end or an error."""
    for group in teacher.stream(pull_from(requests)):
        received += group


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_every_request_is_answered_once_and_costs_what_the_provider_counts(
    bench: Bench, name: str, is_streamed: bool
) -> None:
    requests = requests_for(*TEXTS)
    with bench.open(name, is_streamed=is_streamed) as teacher:
        found = by_prompt(teacher, requests, raw_answers(teacher, requests))
    world = bench.provider.world
    assert bench.provider.count == world.num_paid == len(TEXTS)
    assert all(
        (b'"stream":true' in one.body or ":stream" in one.path) == is_streamed
        for one in bench.provider.requests
    )
    for request in requests:
        answer = found[request.prompt_id]
        assert (answer.error, answer.dialect) == (None, DIALECT_OF[name])
        assert (answer.model, answer.finish_reason) == ("mock-small-2026-01-02", "stop")
        assert answer.response_id
        assert isinstance(orjson.loads(answer.body), dict)
        usage = answer.usage
        assert usage.cost_usd == cost_of(usage.prompt_tokens, usage.completion_tokens)
        assert usage.seconds > 0.0
        completion = read_answer(answer, request)
        # The mock writes a request's seed behind the headline, where the dialect has seeds.
        assert completion.text.partition(" (")[0] == headline(request.prompt_id)
        assert completion.usage == usage
    usages = [answer.usage for answer in found.values()]
    assert sum(usage.prompt_tokens for usage in usages) == world.paid_prompt_tokens
    assert sum(usage.completion_tokens for usage in usages) == world.paid_completion_tokens


def test_requests_under_way_are_bounded_and_few_more_are_pulled(bench: Bench) -> None:
    bench.provider.change(latency={"first_s": 0.005})
    hand_out = pull_from(requests_for(*(f"q{n}" for n in range(60))))
    num_open = most_open = 0

    def pull(limit: int) -> list[Request]:
        nonlocal num_open, most_open
        group = hand_out(limit)
        num_open += len(group)
        most_open = max(most_open, num_open)
        return group

    with bench.open("openai", concurrency=4) as teacher:
        for group in teacher.stream(pull):
            assert len({answer.request_id for answer in group}) == len(group)
            num_open -= len(group)
    assert num_open == 0
    assert most_open == 8
    assert bench.provider.world.accounts["openai"].most_under_way == 4


FATAL = {
    "unauthorized": r"refuses the key in \w+_API_KEY",
    "forbidden": r"refuses the key in \w+_API_KEY",
    "billing": "payment reasons",
    "quota": "payment reasons",
    "not_found": "has no model 'mock-small'",
    "redirect": "redirects",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", FATAL)
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_what_no_further_request_can_pass_ends_the_stream_with_one_line(
    bench: Bench, name: str, kind: str, is_streamed: bool
) -> None:
    bench.provider.change(faults=[kind])
    received: list[Answer] = []
    requests = requests_for(*TEXTS[:4])
    with bench.open(name, concurrency=2, is_streamed=is_streamed) as teacher:
        # The key is read when a teacher is opened, and another stream may try again.
        for _ in range(2):
            with pytest.raises(TeacherUnavailableError, match=FATAL[kind]) as caught:
                drain(teacher, requests, received)
    text = str(caught.value)
    assert "\n" not in text
    assert "test-key" not in text
    assert bench.provider.url in text
    assert bench.provider.count <= 4  # those under way when the first was refused
    assert bench.provider.world.num_paid == 0
    # What was pulled comes back, to be asked again: nothing of it is to be paid.
    assert len(received) == 8
    for answer in received:
        assert answer.error is not None
        assert (answer.error.type, answer.error.retryable) == ("not_sent", True)
        assert answer.usage.cost_usd == 0.0


def test_a_key_is_never_shown_even_where_the_provider_repeats_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = [("bad", f"your key is {SECRET}")]
    bench.provider.change(script=script, faults=["torn_json:contains=torn"])
    with bench.open("openai") as opened:
        opened.close()
    monkeypatch.setenv("OPENAI_API_KEY", f" {SECRET}\n")
    with open_teacher("openai:mock-small") as teacher:
        found = raw_answers(teacher, requests_for("bad one", "torn bad one"))
        errors = [answer.error.message for answer in found if answer.error]
        assert len(errors) == 1
        shown = repr(teacher.caller.endpoint) + repr(teacher.info) + "".join(errors)
        bench.provider.change(faults=["unauthorized"])
        with pytest.raises(TeacherUnavailableError) as caught:
            raw_answers(teacher, requests_for("q"))
    assert SECRET not in shown + str(caught.value) + repr(caught.value.__cause__) + caplog.text


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_an_address_where_nothing_answers_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_streamed: bool
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    with (
        open_teacher("openai:m", Access(is_streamed=is_streamed)) as teacher,
        pytest.raises(TeacherUnavailableError, match=rf"Nothing answers at 127\.0\.0\.1:{port}"),
    ):
        raw_answers(teacher, requests_for("a", "b"))


FORMS = [
    ("openai", "none", None),
    *((name, form, 0.2) for name in NAMES for form in ("seconds", "ms")),
    ("anthropic", "date", 1.0),
    ("google", "retry_info", 0.2),
]


@pytest.mark.parametrize(("name", "form", "wait_s"), FORMS)
def test_a_storm_of_429s_is_waited_out_and_charges_nothing(
    bench: Bench, name: str, form: str, wait_s: float | None
) -> None:
    wait = "" if wait_s is None else f"wait_s={wait_s},"
    num_refused = 5 if wait_s == 0.2 else 3
    bench.provider.change(faults=[f"rate_limit:{wait}form={form},first={num_refused}"])
    requests = requests_for(*TEXTS)
    started_s = time.monotonic()
    with bench.open(name, concurrency=4) as teacher:
        found = raw_answers(teacher, requests)
        assert teacher.metrics()["collect/num_rate_limited"] == num_refused
    # A date is written in whole seconds, so that up to one of them is over when it is read.
    least_s = {"none": 0.5, "date": 0.0}.get(form, wait_s or 0.0)
    assert least_s <= time.monotonic() - started_s < 9.0
    assert all(answer.error is None for answer in found)
    assert len(found) == bench.provider.world.num_paid == len(TEXTS)
    assert bench.provider.count == len(TEXTS) + num_refused


@pytest.mark.parametrize("kind", ["overloaded", "unavailable"])
@pytest.mark.parametrize("name", NAMES)
def test_an_overloaded_provider_is_asked_again_at_no_cost(
    bench: Bench, name: str, kind: str
) -> None:
    bench.provider.change(faults=[f"{kind}:wait_s=0.05,first=2"])
    with bench.open(name) as teacher:
        found = raw_answers(teacher, requests_for("a", "b"))
    assert [answer.error for answer in found] == [None, None]
    assert bench.provider.count == 4


def test_a_wait_that_is_too_long_ends_the_stream(bench: Bench) -> None:
    bench.provider.change(faults=["rate_limit:wait_s=7200"])
    with (
        bench.open("openai") as teacher,
        pytest.raises(RateLimitedError, match="asks to wait 7200 s"),
    ):
        raw_answers(teacher, requests_for("a"))


def test_a_limit_set_by_the_user_is_kept(bench: Bench) -> None:
    with bench.open("openai", requests_per_minute=60.0) as teacher:
        found = raw_answers(teacher, requests_for(*(f"q{n}" for n in range(61))))
    assert len(found) == 61
    sent_s = sorted(one.received_s for one in bench.provider.requests)
    # A minute's worth goes at once, and then one a second.
    assert sent_s[-1] - sent_s[0] >= 0.9
    assert sent_s[30] - sent_s[0] < 0.9


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_a_host_that_refuses_log_probabilities_says_so(bench: Bench, is_streamed: bool) -> None:
    bench.provider.change(has_logprobs=False)
    received: list[Answer] = []
    with bench.open("openai", is_streamed=is_streamed, concurrency=2) as teacher:
        with pytest.raises(LogprobsUnavailableError, match="Logprobs is not enabled") as caught:
            drain(teacher, requests_for(*(f"q{n}" for n in range(50)), top_logprobs=3), received)
        assert "\n" not in str(caught.value)
        assert "set it to 0" in str(caught.value)
        assert raw_answers(teacher, requests_for("a"))[0].error is None
    # Those that were on their way together are all that were ever asked, and none of them is paid.
    assert bench.provider.count <= 2 + 1
    assert {answer.error.type for answer in received if answer.error} == {"not_sent"}
    assert all(answer.usage.cost_usd == 0.0 for answer in received)


def test_a_host_that_gave_log_probabilities_once_is_not_taken_for_one_without(
    bench: Bench,
) -> None:
    with bench.open("openai") as teacher:
        assert raw_answers(teacher, requests_for("a", top_logprobs=3))[0].error is None
        # The word can only be quoted from the prompt now, and the next request may be sound.
        bench.provider.change(has_logprobs=False)
        (answer,) = raw_answers(teacher, requests_for("What are logprobs?", top_logprobs=3))
    assert answer.error is not None
    assert answer.error.type == "bad_request"


@pytest.mark.parametrize("name", ["openai", "responses", "google"])
def test_log_probabilities_come_with_the_answer(bench: Bench, name: str) -> None:
    with bench.open(name) as teacher:
        (completion,) = answers(teacher, requests_for("a", top_logprobs=4))
    assert completion.logprobs is not None
    assert completion.logprobs.top_k == 4


def test_without_a_price_the_cost_is_unknown(bench: Bench) -> None:
    with bench.open("openai", prices={}) as teacher:
        assert teacher.worst_cost_usd(requests_for("a")[0]) is None
        (answer,) = raw_answers(teacher, requests_for("a"))
    assert answer.usage.cost_usd is None
    assert answer.usage.completion_tokens > 0


def test_a_stream_that_is_abandoned_drops_what_is_under_way(bench: Bench) -> None:
    bench.provider.change(faults=["hang:contains=slow"])
    started_s = time.monotonic()
    with bench.open("openai") as teacher:
        stream = teacher.stream(pull_from(requests_for("quick", "slow 1", "slow 2")))
        assert len(next(stream)) == 1
        stream.close()
        # The places of those that were dropped are free again.
        assert len(raw_answers(teacher, requests_for(*(f"q{n}" for n in range(50))))) == 50
    teacher.close()
    assert time.monotonic() - started_s < 5


def test_a_teacher_streams_again_after_a_stream_and_after_close(bench: Bench) -> None:
    with bench.open("anthropic") as teacher:
        for _ in range(2):
            assert len(raw_answers(teacher, requests_for("a", "b"))) == 2
        teacher.close()
        assert len(raw_answers(teacher, requests_for("c"))) == 1


def test_several_teachers_share_one_loop(bench: Bench) -> None:
    with bench.open("openai") as one, bench.open("anthropic") as two:
        streams = [teacher.stream(pull_from(requests_for(*TEXTS))) for teacher in (one, two)]
        num_answers = [0, 0]
        for groups in zip_longest(*streams, fillvalue=()):
            for index, group in enumerate(groups):
                num_answers[index] += len(group)
        assert sum(thread.name == "stillhouse-api" for thread in threading.enumerate()) == 1
    assert num_answers == [len(TEXTS), len(TEXTS)]


def test_a_stream_works_inside_a_running_event_loop(bench: Bench) -> None:
    async def in_a_notebook() -> int:
        with bench.open("google") as teacher:
            return len(raw_answers(teacher, requests_for("a")))

    assert asyncio.run(in_a_notebook()) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("openai:", "names no model"),
        ("anthropic:m?api=responses", "does not speak api=responses"),
        ("openai:m?apl=chat", "Did you mean 'api'"),
        ("openai:m?api=gopher", "api='gopher'"),
    ],
)
def test_a_wrong_spec_of_a_provider_is_refused(
    bench: Bench, spec: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    with pytest.raises(ConfigError, match=message):
        open_teacher(spec)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_key_is_asked_for_by_its_variable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (variable,) = (one for one in APIS[name].variables if one.endswith("KEY"))
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=variable):
        open_teacher(APIS[name].spec)


def test_errors_are_of_the_projects_own_kinds() -> None:
    for kind in (TeacherError, LogprobsUnavailableError, BudgetExceededError, RateLimitedError):
        assert issubclass(kind, StillhouseError)
