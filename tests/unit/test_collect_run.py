"""A collection as a whole: tries, limits, budgets, several teachers, several processes."""

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from batch_cases import APIS, point_at
from cli_process import start
from loopback_chat import LoopbackChat, chat_json
from tests.mock_provider import MockProvider

from stillhouse.artifacts import Artifact, check_files, file_sha256
from stillhouse.collect import CollectConfig, collect
from stillhouse.errors import (
    BudgetExceededError,
    ConfigError,
    RecordError,
    TeacherError,
    TooManyFailuresError,
)
from stillhouse.records import Completion, ItemError, Message, Prompt, Request
from stillhouse.runlog import Answer, Ledger, Progress
from stillhouse.teachers import FakeOptions, FakeTeacher, Pull
from stillhouse.teachers._answers import failed

PRICES = "openai/*: {input: 2.0, output: 8.0}\n"


def some_prompts(num: int, **fields: Any) -> list[Prompt]:
    return [
        Prompt(id=f"p{i}", messages=(Message(role="user", content=f"River {i} rises"),), **fields)
        for i in range(num)
    ]


def config(**changes: Any) -> CollectConfig:
    return CollectConfig.model_validate(changes)


def write_rows(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def completions_of(artifact: Artifact) -> list[Completion]:
    return list(artifact.rows("completions", Completion))


class FlakyTeacher(FakeTeacher):
    """A fake whose first `num_failing` calls of each request fail.

    Attributes:
        asked: How often each prompt was asked.
    """

    def __init__(self, num_failing: int, *, retryable: bool = True, parallel: int = 4) -> None:
        super().__init__(FakeOptions(parallel=parallel))
        self.asked: Counter[str] = Counter()
        self._num_failing = num_failing
        self._retryable = retryable

    def _answer(self, request: Request) -> Answer:
        self.asked[request.prompt_id] += 1
        if self.asked[request.prompt_id] > self._num_failing:
            return super()._answer(request)
        error = ItemError(type="flaky", message="it was flaky", retryable=self._retryable)
        return failed(request, error, model="m")


def test_a_failure_that_may_pass_is_tried_again_and_every_try_is_in_the_ledger(
    tmp_path: Path,
) -> None:
    teacher = FlakyTeacher(2)
    artifact = collect(some_prompts(5), tmp_path / "o", teacher=teacher, config=config())
    assert artifact.manifest.counts.dropped == {}
    assert len(completions_of(artifact)) == 5
    assert set(teacher.asked.values()) == {3}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
    assert (totals.num_requests, totals.num_calls) == (5, 15)
    assert (totals.num_failed, totals.num_answered) == (10, 5)


@pytest.mark.parametrize(("is_retryable", "num_tries"), [(True, 3), (False, 1)])
def test_tries_come_to_an_end(tmp_path: Path, is_retryable: bool, num_tries: int) -> None:
    teacher = FlakyTeacher(99, retryable=is_retryable)
    all_may_fail = config(access={"max_tries": 3}, max_failure_fraction=1.0)
    artifact = collect(some_prompts(5), tmp_path / "o", teacher=teacher, config=all_may_fail)
    assert set(teacher.asked.values()) == {num_tries}
    assert artifact.manifest.counts.dropped == {"flaky": 5}
    assert completions_of(artifact) == []


def test_too_many_failures_stop_paying_before_all_is_asked(tmp_path: Path) -> None:
    teacher = FlakyTeacher(99, retryable=False)
    with pytest.raises(TooManyFailuresError, match="it was flaky"):
        collect(some_prompts(100), tmp_path / "o", teacher=teacher, config=config())
    assert len(teacher.asked) == 8  # five failures are allowed: the second group had the sixth


def test_a_run_that_has_to_stop_goes_on_later(tmp_path: Path) -> None:
    teacher = "fake:?parallel=1&latency_s=0.05"
    brief = config(access={"stop_after_s": 0.4})
    with pytest.raises(TeacherError, match=r"stop_after_s=0\.4 is over with \d+ of 20") as caught:
        collect(some_prompts(20), tmp_path / "o", teacher=teacher, config=brief)
    assert "\n" not in str(caught.value)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        num_before = ledger.totals().num_answered
        assert ledger.totals().num_open == 0
    assert 0 < num_before < 20
    artifact = collect(some_prompts(20), tmp_path / "o", teacher="fake:", config=config())
    assert artifact.manifest.counts.kept == 20
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_calls == 20


def test_nothing_is_sent_after_the_stop_of_what_was_read_before_it(tmp_path: Path) -> None:
    async def respond(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if number == 2:
            await asyncio.sleep(1.2)
        return web.json_response(chat_json("yes"))

    prompts, out = some_prompts(5), tmp_path / "o"
    with LoopbackChat(respond) as server:
        spec, access = f"{server.url}#m", {"concurrency": 1, "max_tries": 1}
        # The second is under way when time is over, and the third waits for it.
        stopped = config(access={**access, "stop_after_s": 1.0})
        with pytest.raises(TeacherError, match="stop_after_s=1 is over with 3 of 5"):
            collect(prompts, out, teacher=spec, config=stopped)
        assert len(server.bodies) == 2
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            totals = ledger.totals()
        assert (totals.num_answered, totals.num_open, totals.num_lost) == (2, 0, 0)
        artifact = collect(prompts, out, teacher=spec, config=config(access=access))
    assert artifact.manifest.counts.kept == len(server.bodies) == 5


def test_what_was_left_behind_after_everything_was_read_is_asked(tmp_path: Path) -> None:
    class Dies(FakeTeacher):
        def stream(self, pull: Pull) -> Iterator[list[Answer]]:
            handed = [request for _ in range(4) for request in pull(4)]
            assert pull(4) == []  # so that all prompts count as read
            yield [self._answer(request) for request in handed[:2]]
            raise TeacherError("gone")

    twice = config(samples_per_prompt=2)
    with pytest.raises(TeacherError, match="gone"):
        collect(some_prompts(5), tmp_path / "o", teacher=Dies(), config=twice)
    told: list[Progress] = []
    again = FlakyTeacher(0)
    artifact = collect(
        some_prompts(5), tmp_path / "o", teacher=again, config=twice, on_progress=told.append
    )
    assert again.asked.total() == 8
    assert artifact.manifest.counts.kept == 10
    assert len(artifact.manifest.results["calls_maybe_paid"]) == 8
    assert (told[-1].done, told[-1].total) == (10, 10)
    assert all(0 <= progress.done <= 10 for progress in told)


def test_an_answer_that_cannot_be_read_is_dropped_and_stays_in_the_ledger(tmp_path: Path) -> None:
    class Garbled(FakeTeacher):
        def _answer(self, request: Request) -> Answer:
            if request.prompt_id != "p1":
                return super()._answer(request)
            return Answer(request.id, "openai_chat", b'{"choices": 1}', "stop", "m")

    artifact = collect(some_prompts(3), tmp_path / "o", teacher=Garbled(), config=config())
    assert artifact.manifest.counts.dropped == {"unreadable_answer": 1}
    assert [row.prompt_id for row in completions_of(artifact)] == ["p0", "p2"]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_answered == 3


# ---- the survey of a file


def test_a_file_is_surveyed_once_and_its_survey_remembered(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "p.jsonl", *({"prompt": f"River {i}"} for i in range(3)))
    ledger_path = tmp_path / "l.sqlite"
    first = collect(path, tmp_path / "a", teacher="fake:", config=config(), ledger=ledger_path)
    key = f"survey-3-found.jsonl:{file_sha256(path)}"
    with Ledger(ledger_path) as ledger:
        kept = orjson.loads(ledger.memo(key) or "null")
        assert kept["sha256"] == first.manifest.config["prompts_sha256"]
        # What is remembered is believed: a survey of 3 rows is not made again.
        ledger.keep_memo(key, orjson.dumps({**kept, "sha256": "ab" * 32}).decode())
    again = collect(path, tmp_path / "b", teacher="fake:", config=config(), ledger=ledger_path)
    assert again.manifest.config["prompts_sha256"] == "ab" * 32


# ---- several teachers


@pytest.fixture
def two(tmp_path: Path) -> dict[str, str]:
    """Specs of two teachers by name."""
    script = tmp_path / "script.jsonl"
    script.write_text('{"match": "", "text": "scripted"}\n')
    return {"big": f"fake:{script}", "small": "fake:"}


def test_all_teachers_answer_every_prompt(tmp_path: Path, two: dict[str, str]) -> None:
    artifact = collect(some_prompts(4), tmp_path / "o", teacher=two, config=config())
    check_files(artifact)
    rows = completions_of(artifact)
    assert [row.prompt_id for row in rows] == ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]
    ids = [row.teacher for row in rows[:2]]
    assert {row.teacher for row in rows[::2]} == {ids[0]}
    assert {row.text for row in rows[::2]} == {"scripted"}
    assert "scripted" not in {row.text for row in rows[1::2]}
    manifest = artifact.manifest
    assert manifest.teacher is not None
    assert (manifest.teacher.id, manifest.teacher.provider) == (" + ".join(ids), "several")
    assert {name: one["id"] for name, one in manifest.config["teachers"].items()} == dict(
        zip(("big", "small"), ids, strict=True)
    )
    by_teacher = {row["teacher"]: row for row in manifest.results["by_teacher"]}
    assert set(by_teacher) == set(ids)
    for id_ in ids:
        given = [row.usage.completion_tokens for row in rows if row.teacher == id_]
        row = by_teacher[id_]
        assert (row["finish_reason"], row["num_completions"]) == ("stop", 4)
        assert (row["completion_tokens"], row["cost_usd"]) == (sum(given), 0.0)


ROUTED = [
    {"id": "for-big", "prompt": "River 1 rises", "teacher": "big"},
    {"id": "for-small", "prompt": "River 2 rises", "teacher": "small"},
    {"id": "for-all", "prompt": "River 3 rises"},
    {"id": "twin", "prompt": "River 3 rises", "teacher": "small"},
    {"id": "last", "prompt": "River 4 rises", "teacher": "small"},
]
ANSWERED = Counter(
    {
        ("for-big", "scripted"): 1,
        ("for-small", "other"): 1,
        ("for-all", "scripted"): 1,
        ("for-all", "other"): 1,
        ("twin", "other"): 1,
        ("last", "other"): 1,
    }
)


def answered(artifact: Artifact) -> Counter[tuple[str, str]]:
    return Counter(
        (row.prompt_id, row.text if row.text == "scripted" else "other")
        for row in completions_of(artifact)
    )


def test_a_prompt_for_one_teacher_is_asked_of_that_one(tmp_path: Path, two: dict[str, str]) -> None:
    path = write_rows(tmp_path / "p.jsonl", *ROUTED)
    told: list[Progress] = []
    artifact = collect(path, tmp_path / "o", teacher=two, config=config(), on_progress=told.append)
    assert answered(artifact) == ANSWERED
    assert artifact.manifest.counts.dropped == {}
    assert (told[-1].done, told[-1].total) == (6, 6)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        # `for-all` and `twin` ask the same of one teacher: one call answers both.
        assert ledger.totals().num_calls == 5


def test_a_repeated_prompt_is_counted_for_every_teacher_that_is_not_asked_again(
    tmp_path: Path, two: dict[str, str]
) -> None:
    rows = [{"prompt": "River 1 rises"}, {"prompt": "River 2 rises", "teacher": "big"}]
    path = write_rows(tmp_path / "p.jsonl", *rows, *rows, *rows)
    given = config(samples_per_prompt=2)
    artifact = collect(path, tmp_path / "o", teacher=two, config=given)
    counts = artifact.manifest.counts
    # Two samples: the first row has four answers, the second two, and both stand there three times.
    assert (counts.kept, counts.dropped) == (6, {"duplicate_prompt": 12})


@pytest.mark.parametrize("name", list(APIS))
def test_an_artefact_that_is_written_again_has_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: MockProvider, name: str
) -> None:
    point_at(monkeypatch, APIS[name], provider)
    given: dict[str, Any] = {
        "teacher": APIS[name].spec,
        "config": config(),
        "ledger": tmp_path / "ledger.sqlite",
    }
    began_utc = datetime.now(UTC) - timedelta(milliseconds=1)
    first = collect(some_prompts(3), tmp_path / "one", **given)
    ended_utc = datetime.now(UTC)
    second = collect(some_prompts(3), tmp_path / "two", **given)
    assert first.manifest.files == second.manifest.files
    assert first.manifest.rows_root == second.manifest.rows_root
    assert all(began_utc <= row.created_utc <= ended_utc for row in completions_of(second))
    assert provider.count == 3


def test_a_routed_collection_goes_on_where_it_was(tmp_path: Path, two: dict[str, str]) -> None:
    path = write_rows(tmp_path / "p.jsonl", *ROUTED)

    def interrupt(progress: Progress) -> None:
        if progress.done >= 2:
            raise KeyboardInterrupt

    slow = {name: f"{spec}?parallel=1&latency_s=0.06" for name, spec in two.items()}
    with pytest.raises(KeyboardInterrupt):
        collect(path, tmp_path / "o", teacher=slow, config=config(), on_progress=interrupt)
    artifact = collect(path, tmp_path / "o", teacher=two, config=config())
    assert answered(artifact) == ANSWERED
    # Everything is known now, though nothing says how far the prompts were read.
    copy = collect(
        path, tmp_path / "copy", teacher=two, config=config(), ledger=tmp_path / "ledger.sqlite"
    )
    assert answered(copy) == ANSWERED


def test_a_prompt_for_an_unknown_teacher_is_refused_before_anything_is_asked(
    tmp_path: Path, two: dict[str, str]
) -> None:
    path = write_rows(tmp_path / "p.jsonl", *ROUTED, {"prompt": "x", "teacher": "huge"})
    with pytest.raises(RecordError, match=r"1 prompts are for the teacher 'huge'.* big, small"):
        collect(path, tmp_path / "o", teacher=two, config=config())
    with pytest.raises(RecordError, match="'big', but the teachers of this run are not named"):
        collect(some_prompts(2, teacher="big"), tmp_path / "o", teacher="fake:", config=config())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_calls == 0


def test_the_same_teacher_twice_and_no_teacher_are_refused(tmp_path: Path) -> None:
    twice = {"a": "fake:", "b": "fake:?parallel=3"}
    with pytest.raises(ConfigError, match="Two teachers are 'fake:headline'"):
        collect(some_prompts(1), tmp_path / "o", teacher=twice, config=config())
    with pytest.raises(ConfigError, match="no teacher"):
        collect(some_prompts(1), tmp_path / "o", teacher={}, config=config())


def test_when_one_teacher_ends_the_others_are_heard_out(tmp_path: Path) -> None:
    script = tmp_path / "s.jsonl"
    script.write_text('{"match": "", "text": "scripted"}\n')
    with MockProvider(faults=["billing"]) as provider:
        teachers = {
            "paid": f"{provider.url}/v1#m",
            "own": f"fake:{script}?latency_s=0.02&parallel=2",
        }
        with pytest.raises(TeacherError, match="payment"):
            collect(some_prompts(10), tmp_path / "o", teacher=teachers, config=config())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_answered == 10


# ---- money and processes


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockProvider]:
    with MockProvider(num_tokens=(5, 60), requires_key=False) as mock:
        point_at(monkeypatch, APIS["openai"], mock)
        yield mock


def paid_usd(provider: MockProvider) -> float:
    world = provider.world
    return (world.paid_prompt_tokens * 2.0 + world.paid_completion_tokens * 8.0) / 1e6


def test_a_budget_holds_over_restarts_and_lost_calls(
    tmp_path: Path, provider: MockProvider
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    prompts = some_prompts(60)

    def run(budget_usd: float, **more: Any) -> Artifact:
        access = {"budget_usd": budget_usd, "prices": str(prices), "concurrency": 4}
        settings = config(access=access, sampling={"max_tokens": 60})
        spec = APIS["openai"].spec
        return collect(prompts, tmp_path / "o", teacher=spec, config=settings, **more)

    def interrupt(progress: Progress) -> None:
        if progress.done >= 3:
            raise KeyboardInterrupt

    provider.change(latency={"first_s": 0.05})
    with pytest.raises(KeyboardInterrupt):
        run(0.006, on_progress=interrupt)
    provider.change(latency={"first_s": 0.0})
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.settle_orphans()
        unknown_usd = ledger.totals().unsettled_usd
    before_usd = paid_usd(provider)
    for budget_usd in (0.009, 0.009, 0.012):
        with pytest.raises(BudgetExceededError) as caught:
            run(budget_usd)
        assert "\n" not in str(caught.value)
        assert paid_usd(provider) <= budget_usd
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            # A stop for money leaves nothing behind that may have been paid.
            assert ledger.totals().num_open == 0
            assert ledger.totals().unsettled_usd == pytest.approx(unknown_usd)
    assert paid_usd(provider) > before_usd
    artifact = run(1.0)
    usage = artifact.manifest.usage
    assert artifact.manifest.counts.kept == 60
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
    assert totals.cost_usd == pytest.approx(usage.cost_usd)
    # What the ledger does not know the cost of is less than what it kept aside for it.
    assert totals.num_lost > 0
    assert paid_usd(provider) - (usage.cost_usd or 0.0) <= totals.unsettled_usd


def test_a_budget_is_refused_where_the_ledger_holds_answers_without_a_price(
    tmp_path: Path, provider: MockProvider
) -> None:
    with MockProvider(requires_key=False) as other:
        collect(some_prompts(2), tmp_path / "a", teacher=f"{other.url}/v1#m", config=config())
    limited = config(access={"budget_usd": 1.0})
    with pytest.raises(ConfigError, match="holds answers whose price is not known"):
        collect(some_prompts(2), tmp_path / "b", teacher="fake:", config=limited)


def start_collect(folder: Path, provider: MockProvider) -> "subprocess.Popen[str]":
    arguments = ("--teacher", f"{provider.url}/v1#m", "--out", "out", "--json")
    return start("collect", "prompts.jsonl", *arguments, cwd=folder)


def asked_of(provider: MockProvider) -> Counter[str]:
    bodies = [orjson.loads(one.body) for one in provider.requests]
    return Counter(body["messages"][-1]["content"] for body in bodies)


def test_two_processes_share_a_collection_and_ask_everything_once(
    tmp_path: Path, provider: MockProvider
) -> None:
    provider.change(latency={"first_s": 0.1})
    texts = [f"River {i} rises" for i in range(300)]
    write_rows(tmp_path / "prompts.jsonl", *({"prompt": text} for text in texts))
    children = [start_collect(tmp_path, provider) for _ in range(2)]
    told = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], told
    documents = [orjson.loads(out) for out, _ in told]
    assert documents[0] == documents[1]
    assert asked_of(provider) == Counter(texts)
    # More at once than one process may have under way: both did ask.
    assert provider.world.accounts["openai"].most_under_way > 16
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
    assert (totals.num_answered, totals.num_lost, totals.num_open) == (300, 0, 0)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_finishes_what_a_killed_one_had_in_hand(
    tmp_path: Path, provider: MockProvider, victim: int
) -> None:
    provider.change(latency={"first_s": 0.25})
    texts = [f"River {i} rises" for i in range(300)]
    write_rows(tmp_path / "prompts.jsonl", *({"prompt": text} for text in texts))
    children = [start_collect(tmp_path, provider)]
    while provider.count < 5:
        assert children[0].poll() is None
        time.sleep(0.01)
    children.append(start_collect(tmp_path, provider))
    while provider.world.accounts["openai"].most_under_way <= 16:
        assert [child.poll() for child in children] == [None, None]
        time.sleep(0.01)
    children[victim].kill()
    children[victim].communicate(timeout=10)
    survivor = children[1 - victim]
    out, err = survivor.communicate(timeout=60)
    assert survivor.returncode == 0, err
    assert orjson.loads(out)["counts"]["kept"] == 300
    asked = asked_of(provider)
    assert set(asked) == set(texts)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        lost = ledger.lost_calls()
        assert ledger.totals().num_answered == 300
    assert 0 < len(lost) <= 32
    assert asked.total() - 300 <= len(lost)
