"""The stage: what it writes, when it does it again, and what it makes of noisy teachers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_cases import make_encoder
from fit_cases import LABELS, a_dataset, a_task, an_answer, repairs_right, rows_of
from safetensors.numpy import load_file, save_file

from stillhouse.artifacts import Artifact, check_files, check_rows_root, open_artifact
from stillhouse.classifiers import encoder_revision, load_classifier, probabilities
from stillhouse.errors import ConfigError, DataError
from stillhouse.fit import FitConfig, RepairRow, ValidationRow, fit
from stillhouse.runlog import Progress
from stillhouse.tasks import TaskAnswer, task_of

QUICK = {"ngram": {"max_features": 800, "l2": 1.0}}
WEIGHTS = ("classifier.json", "classifier.safetensors", "vocabulary.json")


def config_of(**changes: Any) -> FitConfig:
    return FitConfig.model_validate({**QUICK, **changes})


def fitted(folder: Path, rows: list[TaskAnswer], name: str = "student", **changes: Any) -> Artifact:
    if not (folder / "dataset").exists():
        a_dataset(folder / "dataset", rows)
    return fit(folder / "dataset", folder / name, config=config_of(**changes))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    rows, _ = rows_of(600)
    return fitted(tmp_path_factory.mktemp("clean"), [*rows, an_answer(9_999, None)])


def test_the_folder_is_a_sound_artefact_and_a_classifier(clean: Artifact) -> None:
    check_files(clean)
    check_rows_root(clean)
    assert (clean.manifest.kind, clean.manifest.stage) == ("classifier", "fit")
    student = load_classifier(clean.path)
    assert student.labels == LABELS
    given = probabilities(student, ["an atm that gives no cash", "a mortgage"])
    assert [LABELS[best] for best in given.argmax(axis=1)] == ["cash", "loan"]


def test_the_manifest_says_what_was_measured(clean: Artifact) -> None:
    results = clean.manifest.results
    assert task_of(results) == a_task()
    assert (results["student"], results["labels"]) == ("ngram", 4)
    counts = clean.manifest.counts
    assert (counts.num_in, counts.kept, counts.dropped) == (601, 600, {"unknown_label": 1})
    validation = results["validation"]
    assert validation["low"] <= validation["agreement"] <= validation["high"]
    assert validation["agreement"] > 0.95
    assert results["training_rows"] + validation["rows"] == 600
    assert sum(results["rows_per_label"].values()) == results["training_rows"]
    error = validation["calibration_error"]
    assert error["after"]["plug_in"] < error["before"]["plug_in"]
    assert 0 < validation["temperature"] < 1  # the strong penalty makes it less sure than right
    assert set(results["seconds"]) == {"settle", "fit", "calibrate"}
    assert clean.manifest.usage.seconds > 0
    assert clean.manifest.teacher is not None


def test_validation_rows_are_what_the_student_says_of_rows_it_did_not_learn(
    clean: Artifact,
) -> None:
    rows = list(clean.rows("validation", ValidationRow))
    results = clean.manifest.results["validation"]
    assert len(rows) == results["rows"]
    agreement = np.mean([row.predicted == row.answer for row in rows])
    assert agreement == pytest.approx(results["agreement"], abs=1e-6)
    texts = {
        row.prompt_id: row.text
        for row in open_artifact(clean.path.parent / "dataset").rows("answers", TaskAnswer)
    }
    given = probabilities(load_classifier(clean.path), [texts[row.prompt_id] for row in rows])
    np.testing.assert_allclose([row.confidence for row in rows], given.max(axis=1), rtol=1e-6)
    assert all(row.settled == row.answer for row in rows)


def test_agreement_of_rows_in_groups_stays_a_fraction(tmp_path: Path) -> None:
    rows, _ = rows_of(240, noise=0.03)
    grouped = [row.model_copy(update={"group": f"g{n // 4}"}) for n, row in enumerate(rows)]
    validation = fitted(tmp_path, grouped).manifest.results["validation"]
    assert 0 <= validation["low"] <= validation["agreement"] <= validation["high"] <= 1
    assert validation["low"] < validation["agreement"] < 1


def test_right_answers_are_not_repaired(clean: Artifact) -> None:
    noise = clean.manifest.results["noise"]
    assert (noise["method"], noise["applied"], noise["repaired"]) == ("auto", None, 0)
    assert noise["rate"]["high"] < 0.02
    assert list(clean.rows("repairs", RepairRow)) == []


def test_the_same_inputs_are_not_fitted_again(clean: Artifact) -> None:
    told: list[Progress] = []
    dataset = clean.path.parent / "dataset"
    again = fit(dataset, clean.path, config=config_of(), on_progress=told.append)
    assert again.manifest == clean.manifest
    assert told == []


def test_other_settings_replace_it_only_when_asked(tmp_path: Path) -> None:
    rows, _ = rows_of(60)
    first = fitted(tmp_path, rows)
    with pytest.raises(ConfigError, match="holds a finished artefact"):
        fitted(tmp_path, rows, seed=1)
    assert open_artifact(first.path).manifest == first.manifest
    other = config_of(seed=1)
    fit(tmp_path / "dataset", first.path, config=other, replace=True)
    assert open_artifact(first.path).manifest.seeds == {"fit": 1}


def test_the_manifest_names_the_encoder_and_other_weights_are_another_student(
    tmp_path: Path,
) -> None:
    folder = make_encoder(tmp_path / "encoder")
    given = {
        "student": "embedding",
        "noise": {"method": "off"},
        "embedding": {"base": str(folder), "max_tokens": 16, "l2": 1.0, "ngrams": None},
    }
    rows, _ = rows_of(60)
    first = fitted(tmp_path, rows, **given)
    assert first.manifest.student is not None
    assert first.manifest.student.base == str(folder)
    assert first.manifest.student.revision == encoder_revision(str(folder))
    assert fitted(tmp_path, rows, **given).manifest == first.manifest
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file({name: array + 1 for name, array in weights.items()}, path)
    with pytest.raises(ConfigError, match="other"):
        fitted(tmp_path, rows, **given)


def test_damaged_held_out_rows_change_nothing(tmp_path: Path) -> None:
    rows, _ = rows_of(100)
    sound = [an_answer(1_000 + n, "card", "visa", split="held_out") for n in range(30)]
    damaged = [
        an_answer(1_000 + n, "gone", "", split="held_out", probabilities={"gone": float("inf")})
        for n in range(30)
    ]
    made = []
    for name, held_out in (("sound", sound), ("damaged", damaged)):
        a_dataset(tmp_path / name, [*rows, *held_out])
        made.append(fit(tmp_path / name, tmp_path / f"{name}-student", config=config_of()))
    for name in (*WEIGHTS, "validation-00000.parquet", "repairs-00000.parquet"):
        ours, theirs = (one.file(name).read_bytes() for one in made)
        assert ours == theirs


@pytest.mark.parametrize("action", ["soften", "relabel", "drop"])
def test_half_of_the_answers_wrong_are_found_and_repaired(tmp_path: Path, action: str) -> None:
    rows, right = rows_of(1_500, noise=0.5)
    made = fitted(tmp_path, rows, noise={"action": action, "proxy": "ngram"})
    noise = made.manifest.results["noise"]
    assert noise["applied"] == "confident"
    assert noise["rate"]["low"] <= 0.5 <= noise["rate"]["high"] + 0.03
    log = list(made.rows("repairs", RepairRow))
    assert len(log) == noise["repaired"]
    assert repairs_right(log, rows, right) > 0.95
    dropped = made.manifest.counts.dropped.get("judged_wrong", 0)
    assert dropped == (len(log) if action == "drop" else 0)
    student = load_classifier(made.path)
    fresh, labels = rows_of(300, seed=7)
    given = probabilities(student, [row.text for row in fresh]).argmax(axis=1)
    assert (
        np.mean([LABELS[best] == label for best, label in zip(given, labels, strict=True)]) > 0.95
    )
    assert any("were judged wrong" in line for line in made.manifest.results["warnings"])


def test_the_ablation_compares_with_answers_as_given(tmp_path: Path) -> None:
    rows, _ = rows_of(600, noise=0.4)
    noise = {"proxy": "ngram", "ablate": True}
    made = fitted(tmp_path, rows, noise=noise, validation_fraction=0.3)
    ablation = made.manifest.results["noise"]["ablation"]
    difference = ablation["repaired"]["value"] - ablation["as_given"]["value"]
    assert ablation["difference"]["value"] == pytest.approx(difference, abs=1e-5)
    assert ablation["verdict"] in ("better", "non_inferior", "inconclusive", "worse")
    assert "ablate" in made.manifest.results["seconds"]


def test_off_takes_all_answers_as_they_are(tmp_path: Path) -> None:
    rows, _ = rows_of(200, noise=0.5)
    made = fitted(tmp_path, rows, noise={"method": False})  # as YAML reads the word
    noise = made.manifest.results["noise"]
    assert (noise["method"], noise["applied"]) == ("off", None)
    assert "rate" not in noise


def of_teachers(rows: list[TaskAnswer], accuracies: dict[str, float]) -> list[TaskAnswer]:
    """The rows as teachers of such accuracy answer them; the first one's answer counts."""
    draws = np.random.default_rng(1)
    asked = []
    for number, row in enumerate(rows):
        votes = {}
        for teacher, accuracy in accuracies.items():
            others = [label for label in LABELS if label != row.answer]
            answer = str(row.answer) if draws.random() < accuracy else str(draws.choice(others))
            votes[teacher] = {answer: 1}
        first = next(iter(votes["a"]))
        asked.append(an_answer(number, first, row.text, votes=votes, num_answers=len(votes)))
    return asked


def test_a_committee_settles_what_its_teachers_answered_differently(tmp_path: Path) -> None:
    rows, right = rows_of(800)
    asked = of_teachers(rows, {"a": 0.6, "b": 0.9, "c": 0.9})
    made = fitted(tmp_path, asked)
    noise = made.manifest.results["noise"]
    assert noise["applied"] == "committee"
    assert noise["reliability"]["b"] > 0.8 > 0.7 > noise["reliability"]["a"]
    log = list(made.rows("repairs", RepairRow))
    assert {entry.reason for entry in log} == {"committee"}
    assert repairs_right(log, asked, right) > 0.9
    validation = made.manifest.results["validation"]
    assert validation["settled_agreement"]["value"] > validation["agreement"] + 0.1


def test_a_committee_of_one_is_refused(tmp_path: Path) -> None:
    rows, _ = rows_of(40)
    with pytest.raises(ConfigError, match="two teachers or more"):
        fitted(tmp_path, rows, noise={"method": "committee"})
    assert not (tmp_path / "student" / "manifest.json").exists()


def test_a_committee_settles_several_labels_one_by_one(tmp_path: Path) -> None:
    rows = []
    for number in range(300):
        base = "card, cash" if number % 2 else "loan"
        votes = {name: {base: 1} for name in "abc"}
        if number % 10 == 1:
            votes["a"] = {"card": 1}
        text = "visa atm" if number % 2 else "mortgage"
        answer = next(iter(votes["a"]))
        rows.append(an_answer(number, answer, f"{text} {number}", votes=votes, num_answers=3))
    a_dataset(tmp_path / "dataset", rows, task=a_task(multiple=True))
    made = fit(tmp_path / "dataset", tmp_path / "student", config=config_of())
    log = list(made.rows("repairs", RepairRow))
    assert {(entry.old, entry.new) for entry in log} == {("card", "card, cash")}
    validation = list(made.rows("validation", ValidationRow))
    assert {row.predicted for row in validation} == {"card, cash", "loan"}


def test_a_label_without_rows_is_named(tmp_path: Path) -> None:
    rows, _ = rows_of(200)
    kept = [row for row in rows if row.answer != "rate"]
    results = fitted(tmp_path, kept).manifest.results
    assert results["unseen_labels"] == ["rate"]
    assert any("'rate'" in line for line in results["warnings"])
    assert results["rows_per_label"]["rate"] == 0


def test_few_rows_set_aside_are_not_calibrated_on_and_it_is_said(tmp_path: Path) -> None:
    rows, _ = rows_of(40)
    results = fitted(tmp_path, rows).manifest.results
    assert results["validation"]["calibration_error"]["after"] is None
    assert any("too few to calibrate on" in line for line in results["warnings"])


def test_many_dropped_rows_are_said(tmp_path: Path) -> None:
    rows, _ = rows_of(60)
    invalid = [an_answer(1_000 + number, None) for number in range(20)]
    results = fitted(tmp_path, [*rows, *invalid]).manifest.results
    assert any("20 of 80 training rows were dropped" in line for line in results["warnings"])


def test_one_label_alone_is_refused(tmp_path: Path) -> None:
    rows = [an_answer(number, "card") for number in range(40)]
    with pytest.raises(DataError, match="same label"):
        fitted(tmp_path, rows)
    assert not (tmp_path / "student" / "manifest.json").exists()


def test_what_cannot_be_learnt_claims_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There are 3 training rows"):
        fitted(tmp_path, [an_answer(number, LABELS[number]) for number in range(3)])
    assert not (tmp_path / "student").exists()


def test_students_of_few_rows_are_asked_only_where_they_can_judge(tmp_path: Path) -> None:
    rows, _ = rows_of(40)
    assert "too few" in fitted(tmp_path, rows).manifest.results["noise"]["why"]
    with pytest.raises(ConfigError, match="too few"):
        fitted(tmp_path, rows, name="other", noise={"method": "confident"})


def test_repeated_and_long_texts_are_fitted(tmp_path: Path) -> None:
    rows, _ = rows_of(80)
    rows += [an_answer(500 + n, "card", "visa " * 20_000) for n in range(2)]
    rows += [an_answer(600 + n, LABELS[n % 4], "the same text") for n in range(8)]
    made = fitted(tmp_path, rows)
    assert made.manifest.counts.num_in == 90
