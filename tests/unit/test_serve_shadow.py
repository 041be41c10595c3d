"""Shadow mode: a candidate reads along, is compared, and changes nothing."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certify_cases import bank_rows
from fit_cases import LABELS, a_dataset, a_task
from serve_cases import RunningServer
from test_serve_cascade import FixedTeacher

from stillhouse.cascade import WatchConfig, open_cascade
from stillhouse.classifiers import load_classifier
from stillhouse.errors import ConfigError
from stillhouse.fit import FitConfig, fit
from stillhouse.graders import GRADERS, agreement_grader
from stillhouse.records import Message
from stillhouse.serve import Ask, ServeConfig, open_engine
from stillhouse.serve._cascade import CascadeEngine
from stillhouse.serve._drafts import Draft
from stillhouse.serve._labels import LabelEngine
from stillhouse.serve._seen import begin_seen, note
from stillhouse.serve._shadow import Answered, Shadow

CHAT = "/v1/chat/completions"
ROWS = bank_rows(1200, held_out=600)
TEXTS = [row.text for row in ROWS if row.split == "held_out"]
ASK = Ask(messages=(Message(role="user", content="hello"),))


class Candidate:
    """Drafts what it is told, after as long as it is told."""

    name = "candidate"

    def __init__(self, says: Callable[[Ask], Draft], *, seconds: float = 0.0) -> None:
        self.num_running = 0
        self.num_asked = 0
        self._says = says
        self._seconds = seconds

    def refuses(self, ask: Ask) -> str | None:
        return None

    async def draft(self, ask: Ask) -> Draft:
        self.num_asked += 1
        await asyncio.sleep(self._seconds)
        return self._says(ask)

    async def close(self) -> None:
        return


def engine_of(bank_folder: Path, memory: Path, candidate: Candidate, **given: Any) -> CascadeEngine:
    cascade = open_cascade(bank_folder / "cascade")
    student = LabelEngine(
        load_classifier(cascade.student.path), cascade.task, name="bank", novelty=cascade.novelty
    )
    shadow = Shadow(
        candidate,
        agreement_grader(cascade.task),
        is_live_busy=lambda: student.num_running > 0,
        rule=given.pop("rule", None),
    )
    watch = WatchConfig(audit_fraction=given.pop("audit_fraction", 1e-12))
    teacher = FixedTeacher(LABELS[0])
    return CascadeEngine(cascade, student, teacher, memory=memory, config=watch, shadow=shadow)


def ask_all(server: RunningServer, texts: list[str]) -> list[str]:
    answers = []
    for text in texts:
        document = server.ask(CHAT, messages=[{"role": "user", "content": text}])
        answers.append(document["choices"][0]["message"]["content"])
    return answers


def report(server: RunningServer, num_read: int) -> Any:
    """The report, once so many requests were read."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        status, _, body = server.send("/v1/stillhouse/shadow")
        assert status == 200
        found = json.loads(body)
        if found["read"] + found["dropped"] + found["failed"] >= num_read:
            return found
        time.sleep(0.01)
    raise AssertionError(found)


def test_a_candidate_is_compared_with_the_teacher_where_it_answered(
    bank_folder: Path, tmp_path: Path
) -> None:
    """The teacher always says the first label: the candidate as well, the live student mostly not.

    Every request is audited, so all of them are pairs against the teacher.
    """
    candidate = Candidate(lambda ask: Draft(LABELS[0], 0.9))
    engine = engine_of(bank_folder, tmp_path / "watch.json", candidate, audit_fraction=1.0)
    with RunningServer(engine) as server:
        answers = ask_all(server, TEXTS[:30])
        found = report(server, 30)
        page = server.send("/metrics")[2].decode()
    pairs = found["against_teacher"]["audited"]
    agreeing = sum(answer == LABELS[0] for answer in answers)
    assert 0 < agreeing < 30
    assert pairs["n"] == 30
    assert pairs["only_live"] + pairs["neither"] == 0
    assert pairs["candidate"]["value"] == 1.0
    assert pairs["difference"]["value"] == pytest.approx(pairs["only_candidate"] / 30)
    assert pairs["difference"]["low"] > 0  # 20 of 30 pairs are for the candidate, none against it
    assert found["against_live"] == {"n": 0, "same": 0}
    assert 'stillhouse_shadow_teacher_compared_total{kind="audited"} 30\n' in page


def test_it_is_compared_with_the_live_student_where_nobody_else_answered(
    bank_folder: Path, tmp_path: Path
) -> None:
    def says(ask: Ask) -> Draft:
        return Draft(LABELS[1], 0.9)

    with RunningServer(engine_of(bank_folder, tmp_path / "watch.json", Candidate(says))) as server:
        asked = TEXTS[:20]
        routes = []
        for text in asked:
            body = {"messages": [{"role": "user", "content": text}]}
            status, headers, raw = server.send(CHAT, body)
            assert status == 200
            said = json.loads(raw)["choices"][0]["message"]["content"]
            routes.append((headers["x-stillhouse-route"], said))
        found = report(server, 20)
    by_student = [said for route, said in routes if route == "student"]
    assert found["against_live"]["n"] == len(by_student) > 0
    assert found["against_live"]["same"] == sum(said == LABELS[1] for said in by_student)
    assert found["against_teacher"]["escalated"]["n"] == 20 - len(by_student)


def test_a_candidate_that_fails_or_is_slow_changes_no_answer(
    bank_folder: Path, tmp_path: Path
) -> None:
    def fails(ask: Ask) -> Draft:
        raise RuntimeError("the candidate is broken")

    answers, took = [], []
    for candidate in (
        Candidate(lambda ask: Draft(LABELS[0], 0.9)),
        Candidate(fails),
        Candidate(lambda ask: Draft(LABELS[0], 0.9), seconds=30.0),
    ):
        engine = engine_of(bank_folder, tmp_path / f"{len(took)}.json", candidate)
        with RunningServer(engine, grace_s=0.1) as server:
            begun = time.monotonic()
            answers.append(ask_all(server, TEXTS[:20]))
            took.append(time.monotonic() - begun)
    assert answers[0] == answers[1] == answers[2]
    assert took[2] < 5


def test_what_there_is_no_time_for_is_dropped_and_counted() -> None:
    async def flooded() -> Any:
        candidate = Candidate(lambda ask: Draft("a", 0.9))
        is_busy = True
        shadow = Shadow(candidate, GRADERS["label"], is_live_busy=lambda: is_busy)
        for _ in range(300):
            shadow.take(Answered(ASK, Draft("a", 0.9), "student"))
        await asyncio.sleep(0.02)
        assert candidate.num_asked == 0  # the live student has work
        is_busy = False
        for _ in range(200):
            await asyncio.sleep(0.005)
            if shadow.report()["read"] == 256:
                break
        found = shadow.report()
        await shadow.close()
        return found

    found = asyncio.run(flooded())
    assert (found["read"], found["dropped"]) == (256, 44)
    assert found["against_live"]["same"] == 256


def test_what_a_candidate_notes_is_nothing_of_the_request_that_it_reads() -> None:
    def says(ask: Ask) -> Draft:
        note({"x-stillhouse-reason": "candidate"}, confidence=0.1)
        return Draft("a", 0.1)

    async def read() -> Any:
        seen = begin_seen(CHAT, {})
        shadow = Shadow(Candidate(says), GRADERS["label"], is_live_busy=lambda: False)
        shadow.take(Answered(ASK, Draft("a", 0.9), "student"))
        await asyncio.sleep(0.02)
        assert shadow.report()["read"] == 1
        await shadow.close()
        return seen

    seen = asyncio.run(read())
    assert (seen.facts, seen.told) == ({}, {})


def test_graded_answers_are_compared_by_their_scores() -> None:
    async def compared() -> Any:
        drafts = iter([Draft("the river runs", 0.9)] * 40)
        shadow = Shadow(
            Candidate(lambda ask: next(drafts)), GRADERS["tokens"], is_live_busy=lambda: False
        )
        seen = Answered(ASK, Draft("a boat", 0.9), "student", "audited", "the river runs", True)
        for _ in range(40):
            shadow.take(seen)
        await asyncio.sleep(0.05)
        return shadow.report()["against_teacher"]["audited"]

    pairs = asyncio.run(compared())
    assert pairs["n"] == pairs["n_latest"] == 40
    assert pairs["candidate"]["value"] == 1.0
    assert pairs["live"]["value"] == 0.0
    assert 0 < pairs["difference"]["low"] < pairs["difference"]["value"] == 1.0


def test_a_cascade_as_a_shadow_tells_what_it_would_cover(bank_folder: Path, tmp_path: Path) -> None:
    rule = open_cascade(bank_folder / "cascade").rule
    sure = Candidate(lambda ask: Draft(LABELS[0], 1.0))
    engine = engine_of(bank_folder, tmp_path / "a.json", sure, audit_fraction=1.0, rule=rule)
    with RunningServer(engine) as server:
        ask_all(server, TEXTS[:10])
        found = report(server, 10)["as_cascade"]
        assert found["coverage"]["value"] == 1.0
        assert found["audited_loss"]["value"] == 0.0
        assert found["target"] == rule.target


def test_a_shadow_is_opened_with_the_cascade(bank_folder: Path, tmp_path: Path) -> None:
    def opened(shadow: Path) -> Any:
        return open_engine(
            str(bank_folder / "cascade"),
            ServeConfig(),
            teacher="http://localhost:1/v1#m",
            memory=tmp_path / "watch.json",
            shadow=shadow,
        )

    for shadow in (bank_folder / "student", bank_folder / "cascade"):
        with RunningServer(opened(shadow)) as server:
            assert server.send("/v1/stillhouse/shadow")[0] == 200
    with pytest.raises(ConfigError, match="dataset artefact"):
        opened(bank_folder / "dataset")
    labels = LABELS[:2]
    rows = [row for row in ROWS if row.answer in labels]
    task = a_task(labels=labels)
    fit(
        a_dataset(tmp_path / "few", rows, task=task).path,
        tmp_path / "stranger",
        config=FitConfig(student="ngram"),
    )
    with pytest.raises(ConfigError, match="answers are not alike"):
        opened(tmp_path / "stranger")
