"""Teachers that choose among labels over HTTP, and tell the probability of each."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from asking import answers, raw_answers
from hypothesis import given
from hypothesis import strategies as st
from task_cases import classification
from tests.mock_provider import Limits, MockProvider, Settings
from tests.mock_provider.dialects.decisions import SURE, choice_of

from stillhouse.collect import CollectConfig, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError, LogprobsUnavailableError, TeacherUnavailableError
from stillhouse.records import Completion, Message, Prompt, Request, Sampling, Tool
from stillhouse.tasks import TaskAnswer
from stillhouse.teachers import Access, MalformedAnswerError, open_teacher
from stillhouse.teachers._dialects import DECISIONS

LABELS = ("cold", "mild", "hot")
SAMPLING = Sampling()


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider() as mock:
        yield mock


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_API_KEY", "test-key")


def spec(provider: MockProvider, model: str = "mock-small") -> str:
    return f"decisions:{provider.url}/v1#{model}"


def prompt(text: str, **changes: Any) -> Prompt:
    given = {"id": text, "messages": (Message(role="user", content=text),), "labels": LABELS}
    return Prompt.model_validate({**given, **changes})


def request(text: str, **changes: Any) -> Request:
    return Request.of(prompt(text, **changes), teacher="decisions:m@h", sampling=SAMPLING)


def ask(provider: MockProvider, *requests: Request, **access: Any) -> list[Completion]:
    with open_teacher(spec(provider), Access(**access)) as teacher:
        return answers(teacher, list(requests))


def body(**changes: Any) -> bytes:
    answer = {
        "id": "dec-1",
        "object": "decision",
        "model": "m",
        "created": 1_790_000_000,
        "choice": "hot",
        "probabilities": {"cold": 0.1, "mild": 0.2, "hot": 0.7},
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
    return orjson.dumps({**answer, **changes})


def test_a_decision_is_a_completion_with_the_probability_of_each_label(
    provider: MockProvider,
) -> None:
    requests = [request(text) for text in ("snow", "sun", "fog", "ice")]
    found = {one.prompt_id: one for one in ask(provider, *requests)}
    for text in ("snow", "sun", "fog", "ice"):
        choice = choice_of(text, list(LABELS))
        rest = (1 - SURE) / 2
        assert (found[text].text, found[text].finish_reason) == (choice, "stop")
        assert found[text].label_probabilities == {
            label: SURE if label == choice else rest for label in LABELS
        }
        assert found[text].usage.prompt_tokens > 0
    assert len({one.text for one in found.values()}) > 1


def test_what_is_sent_is_the_messages_and_the_labels_alone(provider: MockProvider) -> None:
    system = Message(role="system", content="Weather.")
    ask(provider, request("rain", messages=(system, Message(role="user", content="rain"))))
    logged = provider.requests[-1]
    assert logged.path == "/v1/decisions"
    assert logged.json == {
        "model": "mock-small",
        "kind": "choice",
        "input": {
            "messages": [
                {"role": "system", "content": "Weather."},
                {"role": "user", "content": "rain"},
            ]
        },
        "options": list(LABELS),
    }


def test_it_is_never_asked_for_a_stream(provider: MockProvider) -> None:
    (found,) = ask(provider, request("hail"), is_streamed=True)
    assert found.error is None
    assert "stream" not in provider.requests[-1].json
    with pytest.raises(ConfigError, match="in one piece"):
        DECISIONS.assembler()


@pytest.mark.parametrize(
    ("fault", "type_", "is_retryable"),
    [
        ("server_error", "server_error", True),
        ("timeout", "timeout", True),
        ("lost", "connection", True),
        ("torn_json", "malformed_answer", True),
        ("empty", "malformed_answer", True),
        ("error_object", "malformed_answer", True),
        ("bad_request", "bad_request", False),
        ("too_large", "too_large", False),
    ],
)
def test_a_failed_call_is_an_answer_with_an_error(
    provider: MockProvider, fault: str, type_: str, is_retryable: bool
) -> None:
    found = {one.prompt_id: one for one in ask(provider, request(f"[[fault={fault}]] x"))}
    error = found[f"[[fault={fault}]] x"].error
    assert error is not None
    assert (error.type, error.retryable) == (type_, is_retryable)


@pytest.mark.parametrize("fault", ["rate_limit", "overloaded"])
def test_what_was_turned_away_for_the_moment_is_sent_again(
    provider: MockProvider, fault: str
) -> None:
    num_before = provider.count
    (found,) = ask(provider, request(f"[[fault={fault}:times=1,wait_s=0.01]] {fault}"))
    assert found.error is None
    assert provider.count - num_before == 2


def test_a_limit_of_requests_is_kept() -> None:
    with MockProvider(Settings(limits=Limits(rpm=1200.0))) as provider:
        found = ask(provider, *[request(f"q{n}") for n in range(30)])
        assert [one.error for one in found] == [None] * 30
        assert all(logged.status in (200, 429) for logged in provider.requests)


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        ("missing-model", "test-key", "has no model 'missing-model'"),
        ("mock-small", "bad-key", "refuses the key in STILLHOUSE_API_KEY"),
        ("mock-small", "", "Set STILLHOUSE_API_KEY"),
    ],
)
def test_what_makes_every_request_pointless_ends_the_stream(
    provider: MockProvider, monkeypatch: pytest.MonkeyPatch, model: str, key: str, words: str
) -> None:
    monkeypatch.setenv("STILLHOUSE_API_KEY", key)
    with (
        open_teacher(spec(provider, model)) as teacher,
        pytest.raises(TeacherUnavailableError, match=words),
    ):
        raw_answers(teacher, [request("x")])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"choice": None}, "choice is None"),
        ({"choice": "warm", "probabilities": {"warm": 1.0}}, "none of the options"),
        ({"probabilities": None}, "probabilities is None"),
        ({"probabilities": {}}, "sum to 0"),
        ({"probabilities": {"cold": 1.0}}, "none of the choice 'hot'"),
        ({"probabilities": {"hot": 0.5, "warm": 0.5}}, "'warm', which is no option"),
        ({"probabilities": {"hot": 1.5}}, "is 1.5, not 0 to 1"),
        ({"probabilities": {"hot": -0.5}}, "is -0.5, not 0 to 1"),
        ({"probabilities": {"hot": "0.5"}}, "not 0 to 1"),
        ({"probabilities": {"hot": True}}, "not 0 to 1"),
        ({"probabilities": {"hot": 0.9, "cold": 0.9}}, "sum to 1.8"),
    ],
)
def test_an_answer_that_is_none_is_malformed(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(MalformedAnswerError, match=words):
        DECISIONS.completion(body(**changes), request("x"))


def test_a_malformed_answer_tells_what_it_cost() -> None:
    with pytest.raises(MalformedAnswerError) as caught:
        DECISIONS.outcome(body(choice=None))
    assert caught.value.usage is not None
    assert caught.value.usage.prompt_tokens == 9


def test_an_answer_to_other_options_is_asked_for_again() -> None:
    from aiohttp import web
    from loopback_chat import LoopbackChat, replies

    def respond() -> web.StreamResponse:
        return web.json_response(orjson.loads(body(choice="warm", probabilities={"warm": 1.0})))

    with (
        LoopbackChat(replies(respond), path="/v1/decisions") as server,
        open_teacher(f"decisions:{server.url}#m") as teacher,
    ):
        (found,) = raw_answers(teacher, [request("x")])
    assert found.error is not None
    assert (found.error.type, found.error.retryable) == ("malformed_answer", True)
    assert "none of the options" in found.error.message


@given(st.lists(st.floats(0.0, 1.0, allow_subnormal=False), min_size=3, max_size=3))
def test_rounding_never_takes_the_sum_above_one(weights: list[float]) -> None:
    if not sum(weights):
        return
    rounded = [round(weight / sum(weights), 3) for weight in weights]
    if not sum(rounded):
        return
    raw = body(probabilities=dict(zip(LABELS, rounded, strict=True)))
    found = DECISIONS.completion(raw, request("x")).label_probabilities
    assert found is not None
    assert sum(found.values()) <= 1 + 1e-9
    assert found == pytest.approx(dict(zip(LABELS, rounded, strict=True)), abs=2e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ()}, "chooses among labels"),
        ({"output_schema": "{}"}, "tools or an output_schema"),
        ({"tools": (Tool(name="look", parameters="{}"),)}, "tools or an output_schema"),
    ],
)
def test_what_is_no_choice_is_refused_before_anything_is_sent(
    provider: MockProvider, changes: dict[str, Any], words: str
) -> None:
    num_before = provider.count
    with (
        open_teacher(spec(provider)) as teacher,
        pytest.raises(ConfigError, match=words),
    ):
        raw_answers(teacher, [request("x", **changes)])
    assert provider.count == num_before


def test_a_conversation_with_tool_calls_fails_alone(provider: MockProvider) -> None:
    turns = (
        Message(role="user", content="x"),
        Message(role="tool", content="y", tool_call_id="c"),
    )
    first, second = ask(provider, request("x", messages=turns), request("good"))
    errors = {one.prompt_id: one.error for one in (first, second)}
    assert errors["good"] is None
    assert errors["x"] is not None
    assert errors["x"].type == "bad_request"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("decisions:", "no address of a server"),
        ("decisions:m", "no address of a server"),
        ("decisions:http://host/v1", "names no model"),
        ("decisions:http://u:p@host/v1#m", "holds a user or password"),
    ],
)
def test_another_form_of_spec_is_refused_with_the_right_one(given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        open_teacher(given)
    assert "decisions:http(s)://host[:port]/v1#model" in str(caught.value)


def test_its_id_names_host_and_model_and_no_port(provider: MockProvider) -> None:
    with open_teacher(spec(provider)) as teacher:
        assert teacher.info.id == "decisions:mock-small@localhost"
        assert teacher.info.reads_labels


def test_a_key_that_leaves_unencrypted_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_teacher("decisions:http://far.example/v1#m").close()
    assert "unencrypted" in caplog.text


def test_log_probabilities_are_refused_before_anything_is_sent(
    provider: MockProvider, tmp_path: Path
) -> None:
    config = CollectConfig.model_validate({"sampling": {"top_logprobs": 5}})
    with pytest.raises(LogprobsUnavailableError, match="returns none"):
        collect([prompt("x")], tmp_path / "c", teacher=spec(provider), config=config)


def test_its_probabilities_become_the_soft_labels_of_a_dataset(
    provider: MockProvider, tmp_path: Path
) -> None:
    texts = [f"day {n}" for n in range(30)]
    prompts = [prompt(text, split="held_out" if n < 5 else "train") for n, text in enumerate(texts)]
    made = collect(prompts, tmp_path / "c", teacher=spec(provider), config=CollectConfig())
    recorded = list(made.rows("completions", Completion))
    assert all(one.label_probabilities is not None for one in recorded)
    assert [one.labels for one in made.rows("prompts", Prompt)] == [LABELS] * 30
    dataset = curate(
        tmp_path / "c", tmp_path / "d", config=CurateConfig(), task=classification(*LABELS)
    )
    for row in dataset.rows("answers", TaskAnswer):
        choice = choice_of(row.text, list(LABELS))
        rest = (1 - SURE) / 2
        assert row.answer == choice
        assert row.probabilities == pytest.approx(
            {label: SURE if label == choice else rest for label in LABELS}
        )


def test_a_second_run_asks_nothing_and_other_labels_are_another_question(
    provider: MockProvider, tmp_path: Path
) -> None:
    def run(labels: tuple[str, ...], out: str) -> int:
        num_before = provider.count
        prompts = [prompt(f"night {n}", labels=labels) for n in range(5)]
        ledger = tmp_path / "ledger.sqlite"
        collect(
            prompts,
            tmp_path / out,
            teacher=spec(provider),
            config=CollectConfig(),
            ledger=ledger,
        )
        return provider.count - num_before

    assert [run(LABELS, "a"), run(LABELS, "b"), run(LABELS[:2], "c")] == [5, 0, 5]


def test_a_committee_is_told_of_labels_only_where_it_reads_them(
    provider: MockProvider, tmp_path: Path
) -> None:
    writes = f"{provider.url}/v1#mock-small"
    made = collect(
        [prompt("noon")],
        tmp_path / "c",
        teacher={"chooses": spec(provider), "writes": writes},
        config=CollectConfig(),
    )
    plain = Request.of(
        prompt("noon", labels=()), teacher="http:mock-small@localhost", sampling=SAMPLING
    )
    ids = {one.teacher: one.request_id for one in made.rows("completions", Completion)}
    assert ids["http:mock-small@localhost"] == plain.id
    assert ids["decisions:mock-small@localhost"] != plain.id


def test_labels_leave_a_collection_by_other_teachers_as_it_was(tmp_path: Path) -> None:
    with_labels = collect([prompt("dawn")], tmp_path / "a", teacher="fake:", config=CollectConfig())
    without = collect(
        [prompt("dawn", labels=())],
        tmp_path / "b",
        teacher="fake:",
        config=CollectConfig(),
        ledger=tmp_path / "other.sqlite",
    )
    assert with_labels.manifest.config == without.manifest.config
    (one,) = with_labels.rows("completions", Completion)
    (other,) = without.rows("completions", Completion)
    assert one.request_id == other.request_id
