"""From service to the next student: what is learnt from a log, and what never is."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import run_here
from fit_cases import LABELS, a_task, a_text
from serve_cases import RunningServer
from task_cases import collected, completion, free_text, prompt
from test_servicelog import a_row, an_audit, write

from stillhouse.artifacts import open_artifact
from stillhouse.certify import CertifyConfig, certify
from stillhouse.classifiers import load_classifier, probabilities
from stillhouse.collect import ImportConfig, import_completions
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError
from stillhouse.evaluate import TaskEvaluateConfig, read_task_results
from stillhouse.fit import FitConfig, fit
from stillhouse.pipeline import RoundConfig, next_round, read_round
from stillhouse.records import Completion, Prompt
from stillhouse.serve import Answering, Ask, Piece, ServeConfig, open_engine
from stillhouse.servicelog import LogConfig
from stillhouse.tasks import TaskAnswer
from stillhouse.train import TrainConfig, train

CHAT = "/v1/chat/completions"
# Words of a language that the first student has never seen, and its teacher knows.
FOREIGN = {
    "card": ("karte", "kreditkarte", "girokarte"),
    "cash": ("bargeld", "scheine", "abheben"),
    "loan": ("darlehen", "kredit", "hypothek"),
    "rate": ("wechselkurs", "kurs", "umtausch"),
}
KNOWN = {
    "card": ("card", "visa", "contactless", "chip"),
    "cash": ("cash", "atm", "withdraw", "banknote"),
    "loan": ("loan", "mortgage", "credit", "borrow"),
    "rate": ("rate", "exchange", "currency", "euro"),
}


def teacher_of(text: str) -> str:
    """What the teacher answers: the label of the words that it finds."""
    words = set(text.split())
    return max(LABELS, key=lambda label: len(words & {*KNOWN[label], *FOREIGN[label]}))


def a_foreign_text(label: str, draws: np.random.Generator) -> str:
    fillers = draws.choice(("bitte", "hilfe", "warum", "geht", "das", "nicht"), 3)
    return " ".join([*draws.choice(FOREIGN[label], 2), *fillers, str(draws.integers(10**6))])


class KnowingTeacher:
    """Answers as `teacher_of` does."""

    name = "knowing"

    def __init__(self) -> None:
        self.num_running = 0

    async def open(self, ask: Ask) -> Answering:
        return Answering(1, self._pieces(teacher_of(ask.messages[-1].content)))

    async def _pieces(self, said: str) -> AsyncIterator[Piece]:
        yield Piece(0, said, (), "stop", 1)

    async def close(self) -> None:
        return


def serves(
    cascade: Path, log: Path, memory: Path, texts: list[str], *, audit_fraction: float
) -> list[str]:
    """The routes by which texts are answered, over loopback, by a cascade that logs."""
    from stillhouse.cascade import WatchConfig, open_cascade
    from stillhouse.serve._cascade import CascadeEngine
    from stillhouse.serve._labels import LabelEngine
    from stillhouse.serve._upstream import UpstreamEngine

    opened = open_cascade(cascade)
    classifier = load_classifier(opened.student.path)
    student = LabelEngine(classifier, opened.task, name="bank", novelty=opened.novelty)
    watch = WatchConfig(audit_fraction=audit_fraction)
    routes = []
    with RunningServer(KnowingTeacher()) as teacher:
        upstream = UpstreamEngine(f"{teacher.url}/v1", "knowing", key=None, max_tokens=9)
        engine = CascadeEngine(opened, student, upstream, memory=memory, config=watch)
        with RunningServer(engine, log=LogConfig(folder=log)) as server:
            for text in texts:
                body = {"messages": [{"role": "user", "content": text}]}
                status, headers, _ = server.send(CHAT, body)
                assert status == 200
                routes.append(headers["x-stillhouse-route"])
    return routes


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the first round left: completions, dataset, student, cascade."""
    folder = tmp_path_factory.mktemp("first")
    draws = np.random.default_rng(0)
    texts = [a_text(LABELS[place % 4], draws) + f" {place}" for place in range(700)]
    prompts = [
        prompt(f"{'held' if place < 300 else 'p'}{place}", text) for place, text in enumerate(texts)
    ]
    answers = [completion(one, teacher_of(text)) for one, text in zip(prompts, texts, strict=True)]
    collected(folder / "completions", prompts, answers)
    allow = CurateConfig(contamination="allow")
    curate(folder / "completions", folder / "dataset", config=allow, task=a_task())
    fit(folder / "dataset", folder / "student", config=FitConfig(student="ngram", seed=3))
    certify(
        folder / "student",
        folder / "dataset",
        folder / "cascade",
        config=CertifyConfig(target=0.9),
    )
    return folder


@pytest.fixture(scope="module")
def log(first: Path) -> Path:
    """What serving the first student logged; the later half is in words that it does not know."""
    draws = np.random.default_rng(1)
    texts = []
    for place in range(400):
        label = LABELS[place % 4]
        is_known = place < 200  # the watch sends all to the teacher soon after that
        texts.append(
            f"{a_text(label, draws)} q{place}" if is_known else a_foreign_text(label, draws)
        )
    folder = first / "log"
    routes = serves(first / "cascade", folder, first / "watch.json", texts, audit_fraction=0.2)
    assert routes.count("teacher") > 150
    assert routes.count("student") > 100
    return folder


@pytest.fixture(scope="module")
def second(first: Path, log: Path) -> Path:
    """A folder with what the next round left."""
    out = first / "second"
    next_round(log, out, config=RoundConfig(served="cascade"), config_dir=first)
    return out


def accuracy(student: Path, texts: list[str]) -> float:
    classifier = load_classifier(student)
    best = probabilities(classifier, texts).argmax(axis=1)
    right = [classifier.labels[place] for place in best]
    return float(
        np.mean([given == teacher_of(text) for given, text in zip(right, texts, strict=True)])
    )


def test_the_next_student_knows_what_the_first_one_had_to_ask(first: Path, second: Path) -> None:
    draws = np.random.default_rng(2)
    foreign = [a_foreign_text(LABELS[place % 4], draws) for place in range(200)]
    known = [a_text(LABELS[place % 4], draws) for place in range(200)]
    assert accuracy(first / "student", foreign) < 0.6
    assert accuracy(second / "student", foreign) > 0.9
    assert accuracy(second / "student", known) > 0.9
    before, after = open_artifact(first / "student"), open_artifact(second / "student")
    assert after.manifest.config == before.manifest.config  # made as the served one was
    assert after.manifest_sha256 != before.manifest_sha256


def test_what_was_audited_is_held_out_and_the_rest_is_learnt(
    first: Path, log: Path, second: Path
) -> None:
    served = open_artifact(second / "served")
    splits = [one.split for one in served.rows("prompts", Prompt)]
    assert 40 < splits.count("held_out") < 140
    assert splits.count("train") > 100
    dropped = served.manifest.counts.dropped
    assert set(dropped) == {"unchecked_student_answer"}
    rows = {row.text: row for row in open_artifact(second / "dataset").rows("answers", TaskAnswer)}
    earlier = list(open_artifact(first / "dataset").rows("answers", TaskAnswer))
    assert all(rows[row.text].split == row.split for row in earlier if row.text in rows)
    assert all(row.answer == teacher_of(row.text) for row in rows.values())


def test_a_second_run_skips_what_has_not_changed(first: Path, log: Path, second: Path) -> None:
    outcome = next_round(log, second, config=RoundConfig(served="cascade"), config_dir=first)
    assert outcome.skipped == ("import", "join", "curate", "fit", "evaluate")
    report = outcome.report_path.read_text()
    assert 'id="in-service"' in report
    version = open_artifact(first / "cascade").manifest_sha256[:12]
    assert f'<th scope="row">{version}</th><td>400</td>' in report


def test_the_command_line_runs_a_round(
    first: Path, log: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = first / "round.yaml"
    config.write_text("served: cascade\n")
    ran = run_here(
        capsys,
        "run",
        str(config),
        "--from-serve-log",
        str(log),
        "--out",
        str(first / "cli"),
        "--json",
    )
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert set(document["artifacts"]) == {"import", "join", "curate", "fit", "evaluate"}
    assert document["results"]["counts"]["held_out"] > 300


def test_a_report_on_a_task_tells_about_a_log_that_is_given(
    first: Path, log: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(second / "dataset"), str(second / "student"), "--out", str(first / "told")]
    ran = run_here(capsys, "evaluate", *words, "--service-log", str(log))
    assert ran.code == 0, ran.err
    service = read_task_results(first / "told" / "results.json").service
    assert service is not None
    assert service.total.requests == 400
    assert run_here(capsys, "evaluate", *words, "--force").code == 0
    assert read_task_results(first / "told" / "results.json").service is None


def test_a_round_needs_a_student_of_a_task(tmp_path: Path, first: Path, log: Path) -> None:
    for served in ("nowhere", "completions"):
        with pytest.raises(ConfigError, match="served"):
            next_round(log, tmp_path, config=RoundConfig(served=served), config_dir=first)
    config = tmp_path / "round.yaml"
    config.write_text("served: cascade\nteacher: 'local:'\n")
    with pytest.raises(ConfigError, match="teacher"):
        read_round(config)


def test_a_language_model_of_a_task_has_a_next_round_too(tmp_path: Path, tiny_folder: Path) -> None:
    words = ("bridge", "farm", "baker", "rain")
    prompts = [
        prompt(f"p{n}", f"The town has {n} {words[n % 4]}", split="held_out" if n < 20 else "train")
        for n in range(44)
    ]
    collected(tmp_path / "completions", prompts, [completion(one, "Fine.") for one in prompts])
    allow = CurateConfig(contamination="allow")
    task = free_text()
    curate(tmp_path / "completions", tmp_path / "dataset", config=allow, task=task)
    settings = TrainConfig(base=f"local:{tiny_folder}", objective="sft", epochs=1.0, batch_size=8)
    train(tmp_path / "dataset", tmp_path / "student", config=settings)
    write(tmp_path / "log", [a_row(n, f"rain again, and {words[n % 4]} {n}") for n in range(8)])
    brief = TaskEvaluateConfig(latency_messages=4, max_tokens=4, num_resamples=200)
    config = RoundConfig(served="student", curate=allow, evaluate=brief)
    outcome = next_round(tmp_path / "log", tmp_path / "out", config=config, config_dir=tmp_path)
    assert list(outcome.artifacts) == ["import", "join", "curate", "train", "evaluate"]
    made = outcome.artifacts["train"].manifest
    assert made.kind == "student"
    assert made.config == open_artifact(tmp_path / "student").manifest.config
    assert made.counts.kept == 24 + 8
    kl = RoundConfig(served="student", train=TrainConfig(objective="forward_kl"))
    with pytest.raises(ConfigError, match="forward_kl, from more than texts"):
        next_round(tmp_path / "log", tmp_path / "kl", config=kl, config_dir=tmp_path)


# What an import takes of a log.


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Any]:
    def run(rows: list[dict[str, Any]], **settings: Any) -> Any:
        write(tmp_path / "log", rows, scrub=False)
        config = ImportConfig(**settings)
        return import_completions(tmp_path / "log", tmp_path / "out", config=config, replace=True)

    return run


def texts_of(artifact: Any) -> Iterator[tuple[str, str, str]]:
    """Prompt, answer and split of each completion."""
    prompts = {one.id: one for one in artifact.rows("prompts", Prompt)}
    for row in artifact.rows("completions", Completion):
        asked = prompts[row.prompt_id]
        yield asked.messages[-1].content, row.text, asked.split


def test_only_what_a_teacher_answered_is_taken(imported: Any) -> None:
    audit = an_audit()
    audit["asked"] = {"messages": [{"role": "user", "content": "audited"}]}
    tools = [{"name": "f", "parameters": "{}"}]
    artifact = imported(
        [
            a_row(0, "asked"),
            a_row(1, "own", route="student", audited=False),
            a_row(2, "refused", status=400, answers=[]),
            a_row(3, "gone", status=499, cancelled=True),
            a_row(4, "cut", answers=[{"text": "half", "finish_reason": None}]),
            a_row(5, asked=None),
            a_row(6, asked={"text": "continue"}),
            a_row(7, asked={**a_row()["asked"], "tools": tools}),
            audit | {"answer": {"text": "loan", "finish_reason": "stop"}},
        ]
    )
    assert artifact.manifest.results["format"] == "serve-log"
    assert sorted(texts_of(artifact)) == [
        ("asked", "to asked", "train"),
        ("audited", "loan", "held_out"),
    ]
    assert artifact.manifest.counts.dropped == {
        "unchecked_student_answer": 1,
        "failed_call": 1,
        "cancelled": 1,
        "not_whole": 1,
        "no_content": 1,
        "no_conversation": 1,
        "with_tools": 1,
    }


def test_unchecked_answers_are_taken_only_where_that_is_said(imported: Any) -> None:
    rows = [a_row(0, "asked"), a_row(1, "own", route="student")]
    artifact = imported(rows, unchecked_student_answers=True)
    assert {text for text, _, _ in texts_of(artifact)} == {"asked", "own"}
    models = {row.model for row in artifact.rows("completions", Completion)}
    assert models == {"student", "student:abc"}


def test_a_conversation_is_on_one_side_with_all_its_turns(imported: Any) -> None:
    def turn(number: int, *said: str, **changes: Any) -> dict[str, Any]:
        roles = ("user", "assistant")
        messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
        return a_row(number, asked={"messages": messages}, **changes)

    artifact = imported(
        [
            turn(0, "Mail  ann@example.com"),
            turn(1, "other"),
            turn(2, "mail bob@example.com", "done", "and now?", audited=True),
        ]
    )
    found = {said: split for said, _, split in texts_of(artifact)}
    assert found == {"Mail  [EMAIL_1]": "held_out", "other": "train", "and now?": "held_out"}


def test_damaged_lines_are_counted_and_too_many_of_them_are_an_error(
    tmp_path: Path, imported: Any
) -> None:
    imported([a_row(number, f"text {number}") for number in range(30)])
    (file,) = (tmp_path / "log").iterdir()
    with file.open("ab") as stream:
        stream.write(b"rubbish\n")
    config = ImportConfig(max_failure_fraction=0.05)
    again = import_completions(tmp_path / "log", tmp_path / "again", config=config)
    assert again.manifest.counts.dropped == {"damaged": 1}


def test_rows_of_a_log_that_goes_on_make_a_new_import(tmp_path: Path, imported: Any) -> None:
    first = imported([a_row(0, "one")])
    assert imported([]).manifest_sha256 == first.manifest_sha256
    assert len(list(texts_of(imported([a_row(1, "two")])))) == 2


def test_a_student_served_alone_gives_nothing_to_learn(first: Path, tmp_path: Path) -> None:
    engine = open_engine(str(first / "student"), ServeConfig())
    with RunningServer(engine, log=LogConfig(folder=tmp_path / "log")) as server:
        server.ask(CHAT, messages=[{"role": "user", "content": "my card"}])
    config = RoundConfig(served="student")
    with pytest.raises(Exception, match="unchecked_student_answer 1"):
        next_round(tmp_path / "log", tmp_path / "out", config=config, config_dir=first)
