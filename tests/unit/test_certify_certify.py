"""The stage that certifies: which rows count, what is written, and what a server opens."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from certify_cases import bank_rows, fitted_bank
from fit_cases import a_dataset, a_task

from stillhouse.artifacts import open_artifact
from stillhouse.cascade import CascadeRow, GateConfig, open_cascade
from stillhouse.certify import CertifyConfig, certify
from stillhouse.classifiers import load_classifier, probabilities
from stillhouse.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    NotCertifiedError,
    RecordError,
)
from stillhouse.provenance import verify
from stillhouse.tasks import Task, TaskAnswer

EASY = CertifyConfig(target=0.9)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bank")
    return fitted_bank(folder, bank_rows(700, held_out=200, noise=0.02))


@pytest.fixture(scope="module")
def cascade(made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset, student = made
    out = tmp_path_factory.mktemp("out") / "cascade"
    return certify(student, dataset, out, config=EASY).path


def rows_of(path: Path) -> list[CascadeRow]:
    return list(open_artifact(path, kind="cascade").rows("rows", CascadeRow))


def test_a_student_is_certified_on_what_the_dataset_held_out(
    made: tuple[Path, Path], cascade: Path
) -> None:
    rows = rows_of(cascade)
    held_out = [
        row for row in open_artifact(made[0]).rows("answers", TaskAnswer) if row.split == "held_out"
    ]
    assert [row.prompt_id for row in rows] == [row.prompt_id for row in held_out]
    opened = open_cascade(cascade)
    found = opened.rule.certificate
    assert found.n == 200
    assert found.answered == sum(row.route == "student" for row in rows)
    assert found.loss == sum(row.loss for row in rows if row.route == "student")
    assert found.bound <= 0.1
    assert found.coverage.value > 0.5
    for row in rows:
        assert row.loss == float(row.answer != row.predicted)
        assert opened.rule.decide(row.confidence, row.novelty).route == row.route


def test_a_server_decides_as_the_certificate_did(made: tuple[Path, Path], cascade: Path) -> None:
    opened = open_cascade(cascade)
    student = load_classifier(opened.student.path)
    rows = rows_of(cascade)[:40]
    by_id = {row.prompt_id: row for row in open_artifact(made[0]).rows("answers", TaskAnswer)}
    for row in rows:
        text = by_id[row.prompt_id].text
        confidence = float(probabilities(student, [text]).max())
        (novelty,) = opened.novelty([text], student.states([text]))
        assert (confidence, novelty) == (row.confidence, pytest.approx(row.novelty, abs=1e-6))
    strange = opened.novelty(["recite a poem about the sea in winter"], None)[0]
    assert opened.rule.decide(1.0, strange).reason == "unfamiliar"
    assert opened.watch().state == "serving"
    assert len(opened.confidences_N) == len(opened.novelties_N) == 200


def test_the_certificate_says_what_it_rests_on(cascade: Path) -> None:
    document = json.loads((cascade / "certificate.json").read_text())
    rule = json.loads((cascade / "rule.json").read_text())
    assert document["rule"] == rule
    assert document["statement"].startswith("90 % agreement certified at 95 % confidence")
    assert len(document["assumptions"]) == 3
    thresholds = [point["threshold"] for point in document["curve"]]
    coverages = [point["coverage"] for point in document["curve"]]
    assert thresholds == sorted(thresholds, reverse=True)
    assert coverages == sorted(coverages)
    manifest = open_artifact(cascade).manifest
    assert manifest.results["statement"] == document["statement"]
    assert manifest.counts.kept == 200
    verify(cascade)


def test_what_the_same_inputs_made_is_returned_as_it_is(
    made: tuple[Path, Path], cascade: Path
) -> None:
    before = (cascade / "manifest.json").read_bytes()
    certify(made[1], made[0], cascade, config=EASY)
    assert (cascade / "manifest.json").read_bytes() == before
    with pytest.raises(ConfigError):
        certify(made[1], made[0], cascade, config=CertifyConfig(target=0.8))


def test_a_student_that_changed_is_refused(
    made: tuple[Path, Path], cascade: Path, tmp_path: Path
) -> None:
    shutil.copytree(made[0], tmp_path / "dataset")
    shutil.copytree(made[1], tmp_path / "student")
    path = certify(
        tmp_path / "student", tmp_path / "dataset", tmp_path / "cascade", config=EASY
    ).path
    weights = tmp_path / "student" / "classifier.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="not what is there now"):
        open_cascade(path)
    weights.write_bytes(whole)
    open_cascade(path)
    shutil.rmtree(tmp_path / "student")
    with pytest.raises(IntegrityError, match="not what is there now"):
        open_cascade(path)


def test_a_damaged_cascade_is_refused(cascade: Path, tmp_path: Path) -> None:
    copy = cascade.parent / "copy"
    shutil.copytree(cascade, copy)
    rule = copy / "rule.json"
    rule.write_bytes(rule.read_bytes().replace(b'"threshold":0', b'"threshold":1'))
    with pytest.raises(IntegrityError, match="has changed"):
        open_cascade(copy)
    shutil.rmtree(copy)
    with pytest.raises(ConfigError, match="needs cascade"):
        open_cascade(open_cascade(cascade).student.path)


def test_what_is_not_certified_writes_nothing(made: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(NotCertifiedError, match="200 rows do not certify"):
        certify(made[1], made[0], tmp_path / "out", config=CertifyConfig(target=0.999))
    assert not (tmp_path / "out").exists()


def changed_rows(
    made: tuple[Path, Path], tmp_path: Path, changes: dict[str, dict[str, object]]
) -> Path:
    rows = [row.model_copy(update=changes.get(row.prompt_id, {})) for row in bank_rows(300, seed=7)]
    return a_dataset(tmp_path / "other", rows, task=a_task()).path


def test_all_rows_of_another_dataset_count_but_for_those_that_say_nothing(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    learnt = next(
        row for row in open_artifact(made[0]).rows("answers", TaskAnswer) if row.split == "train"
    )
    invalid = {"answer": None, "probabilities": {}, "votes": {}, "num_invalid": 1}
    changes: dict[str, dict[str, object]] = {
        "p7-0": {"group": "one customer"},
        "p7-1": {"group": "one customer"},
        "p7-2": {"group": "one customer"},
        "p7-3": {"text": f"  {learnt.text.upper()} "},
        "p7-4": invalid,
        "p7-5": {**invalid, "num_answers": 0, "num_invalid": 0},
    }
    other = changed_rows(made, tmp_path, changes)
    path = certify(made[1], other, tmp_path / "out", config=EASY).path
    dropped = open_artifact(path).manifest.counts.dropped
    assert dropped == {"repeats_training_text": 1, "shares_group": 2, "unanswered": 1}
    rows = {row.prompt_id: row for row in rows_of(path)}
    assert len(rows) == 296
    assert rows["p7-4"].loss == 1.0  # whatever it says, the teacher did not
    assert len({"p7-0", "p7-1", "p7-2"} & rows.keys()) == 1


def test_fewer_rows_are_chosen_by_hash_and_counted(made: tuple[Path, Path], tmp_path: Path) -> None:
    few = EASY.model_copy(update={"max_rows": 120})
    path = certify(made[1], made[0], tmp_path / "out", config=few).path
    manifest = open_artifact(path).manifest
    assert (manifest.counts.kept, manifest.counts.dropped) == (120, {"beyond_max_rows": 80})


def test_a_stricter_gate_sends_more_to_the_teacher(
    made: tuple[Path, Path], cascade: Path, tmp_path: Path
) -> None:
    strict = EASY.model_copy(update={"gate": GateConfig(refused_fraction=0.3)})
    path = certify(made[1], made[0], tmp_path / "out", config=strict).path
    refused = [open_cascade(one).rule.certificate.refused_unfamiliar for one in (cascade, path)]
    assert refused[0] < 10
    assert refused[1] > 30


def test_other_labels_and_datasets_without_rows_are_refused(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    fewer = Task(name="bank", kind="classification", labels=("card", "cash", "loan"))
    rows = [row for row in bank_rows(100, seed=3) if row.answer != "rate"]
    other = a_dataset(tmp_path / "other", rows, task=fewer)
    with pytest.raises(ConfigError, match="other labels"):
        certify(made[1], other.path, tmp_path / "out", config=EASY)
    dataset, student = fitted_bank(tmp_path / "none", bank_rows(200))
    with pytest.raises(DataError, match="no held-out rows"):
        certify(student, dataset, tmp_path / "out", config=EASY)
    with pytest.raises(ConfigError, match="dataset artefact"):
        certify(dataset, dataset, tmp_path / "out", config=EASY)


def grades_file(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_grades_from_elsewhere_take_the_place_of_the_student(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    graded = [
        {
            "prompt_id": f"p0-{place}",
            "confidence": None if place == 0 else float(rng.random()),
            "score": float(rng.choice([1.0, 0.9, 0.6])),
            "judge": "somebody",
        }
        for place in range(180)
    ]
    path = grades_file(tmp_path / "grades.jsonl", graded)
    artifact = certify(
        made[1], made[0], tmp_path / "out", config=CertifyConfig(target=0.7), grades=path
    )
    found = open_cascade(artifact.path).rule.certificate
    assert (found.method, found.n) == ("betting", 180)
    assert artifact.manifest.counts.dropped == {"ungraded": 20}
    rows = {row.prompt_id: row for row in rows_of(artifact.path)}
    assert rows["p0-0"].route == "teacher"
    for given in graded[1:]:
        row = rows[str(given["prompt_id"])]
        assert row.confidence == given["confidence"]
        assert row.loss == pytest.approx(1 - float(str(given["score"])))


@pytest.mark.parametrize(
    ("row", "error", "match"),
    [
        ({"prompt_id": "p0-1", "score": 1.4}, RecordError, "less than or equal to 1"),
        ({"prompt_id": "p0-0", "score": 1.0}, RecordError, "graded twice"),
        ({"score": 1.0}, RecordError, "Field required"),
    ],
)
def test_what_is_no_grade_is_refused(
    made: tuple[Path, Path],
    tmp_path: Path,
    row: dict[str, object],
    error: type[Exception],
    match: str,
) -> None:
    path = grades_file(tmp_path / "grades.jsonl", [{"prompt_id": "p0-0", "score": 1.0}, row])
    with pytest.raises(error, match=match):
        certify(made[1], made[0], tmp_path / "out", config=EASY, grades=path)


def test_grades_of_other_rows_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    path = grades_file(tmp_path / "grades.jsonl", [{"prompt_id": "x", "score": 1.0}])
    with pytest.raises(DataError, match="grades none of the 200 rows"):
        certify(made[1], made[0], tmp_path / "out", config=EASY, grades=path)
