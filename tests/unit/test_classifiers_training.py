"""Training an encoder: against a naive step, over parts, after a restart, and what it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_cases import make_encoder

from stillhouse.classifiers import (
    EncoderConfig,
    fit_encoder,
    load_classifier,
    probabilities,
    save_classifier,
)
from stillhouse.classifiers._linear import LinearHead
from stillhouse.classifiers._losses import disagreement, target_loss
from stillhouse.classifiers._network import TokenBatch, load_encoder
from stillhouse.classifiers._precision import multiplies_bfloat16
from stillhouse.classifiers._pretrained import open_base
from stillhouse.classifiers._training import Lessons, Trainer
from stillhouse.errors import CheckpointError, DataError, NonFiniteLossError

TEXTS = ["red car", "my car", "blue sky", "the sky", "lost card", "card stolen", "the car"] * 3
TARGETS = np.eye(4)[[0, 0, 1, 1, 2, 2, 0] * 3]
LABELS = ("car", "sky", "card", "never")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("base"))


def settings(folder: Path, **changes: Any) -> EncoderConfig:
    # In float32, so that every processor says the same.
    given = {
        "base": str(folder),
        "max_tokens": 16,
        "epochs": 3,
        "batch_size": 4,
        "training_precision": "float32",
    }
    return EncoderConfig(**{**given, "learning_rate": 1e-3, **changes})


def fit(folder: Path, changes: Any = None, **options: Any) -> Any:
    config = settings(folder, **(changes or {}))
    given = {"targets_NL": TARGETS, "labels": LABELS, "config": config, "texts": TEXTS}
    return fit_encoder(**{**given, **options})


# Losses


@pytest.mark.parametrize("is_multiple", [False, True])
def test_losses_are_those_of_naive_sums(is_multiple: bool) -> None:
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=torch.float64)
    other = torch.tensor([[0.1, 1.0], [2.0, 0.3]], dtype=torch.float64)
    targets = torch.tensor([[0.3, 0.7], [1.0, 0.0]], dtype=torch.float64)
    p = logits.sigmoid() if is_multiple else logits.softmax(dim=1)
    q = other.sigmoid() if is_multiple else other.softmax(dim=1)
    cross, apart = -targets * p.log(), (p - q) * (p.log() - q.log())
    if is_multiple:
        cross = cross - (1 - targets) * (1 - p).log()
        apart = apart + (q - p) * ((1 - p).log() - (1 - q).log())
    torch.testing.assert_close(target_loss(logits, targets, is_multiple=is_multiple), cross.sum(1))
    found = disagreement(logits, other, is_multiple=is_multiple)
    torch.testing.assert_close(found, apart.sum(1) / 2)
    assert found[1] == 0


# Steps


def trainer(folder: Path, *, seed: int = 0, **changes: Any) -> Trainer:
    reader, shape, weights = open_base(str(folder), max_tokens=16)
    config = settings(folder, **changes)
    generator = np.random.default_rng(1)
    head = LinearHead(
        generator.normal(size=(32, 4)).astype(np.float32), np.zeros(4, dtype=np.float32)
    )
    lessons = Lessons(
        reader.ids(TEXTS),
        torch.from_numpy(TARGETS).float(),
        torch.linspace(0.5, 1.5, len(TEXTS)),
        False,
    )
    network = load_encoder(weights, shape, dropout=config.dropout)
    return Trainer(network, head, lessons, config, seed=seed)


def test_the_first_loss_is_the_mean_over_weighted_texts(folder: Path) -> None:
    training = trainer(folder, batch_size=len(TEXTS), dropout=0.0)
    reader, shape, weights = open_base(str(folder), max_tokens=16)
    with torch.no_grad():
        states = load_encoder(weights, shape)(TokenBatch.of(reader.ids(TEXTS)))
        head = torch.from_numpy(np.random.default_rng(1).normal(size=(32, 4))).float()
        rows = -(torch.from_numpy(TARGETS) * (states @ head).log_softmax(dim=1)).sum(dim=1)
    expected = (rows * torch.linspace(0.5, 1.5, len(TEXTS))).mean()
    assert next(training.run_epoch(0)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("r_drop", [0.0, 1.0])
def test_small_parts_give_the_step_of_the_whole(folder: Path, r_drop: float) -> None:
    def after(part_tokens: int) -> Any:
        training = trainer(folder, dropout=0.0, r_drop=r_drop, part_tokens=part_tokens)
        losses = list(training.run_epoch(0))
        return losses, training.averaged_logits([[2, 4, 3]])

    (whole, logits), (parts, of_parts) = after(2_048), after(9)
    np.testing.assert_allclose(whole, parts, rtol=1e-3)
    torch.testing.assert_close(logits, of_parts, atol=2e-2, rtol=1e-2)


def test_the_average_is_that_of_the_weights_after_each_step(folder: Path) -> None:
    training = trainer(folder, average_decay=0.5, dropout=0.0)
    name = "weights.head.weight"
    average = torch.from_numpy(training.averaged()[1].weights_FL.T)
    for step, _ in enumerate(training.run_epoch(0), start=1):
        decay = min(0.5, step / (step + 9))
        average = decay * average + (1 - decay) * training.state()[name]
    torch.testing.assert_close(training.state()["average.head.weight"], average)
    weights, head = training.averaged()
    np.testing.assert_allclose(head.weights_FL, average.T, rtol=1e-5)
    assert weights.keys() == open_base(str(folder), max_tokens=16)[2].keys()


def test_the_rate_warms_up_and_falls_to_nothing(folder: Path) -> None:
    training = trainer(folder, epochs=2, warmup_fraction=0.25)
    rates = []
    for epoch in range(2):
        for _ in training.run_epoch(epoch):
            rates.append(training.learning_rate)
    num = len(rates)
    assert rates[0] == 0
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) == num // 4
    assert rates[-1] < 0.05 * max(rates)


def test_dropout_of_a_step_does_not_hang_on_what_was_drawn_before(folder: Path) -> None:
    def losses() -> list[float]:
        torch.rand(7)
        return list(trainer(folder, dropout=0.3).run_epoch(0))

    state = torch.get_rng_state()
    assert losses() == losses()
    assert not torch.equal(torch.get_rng_state(), state)  # our own draws moved it, twice
    assert losses() != list(trainer(folder, dropout=0.3, seed=1).run_epoch(0))


def test_bfloat16_moves_losses_a_little_and_keeps_weights_in_float32(folder: Path) -> None:
    def losses(precision: str) -> list[float]:
        return list(trainer(folder, dropout=0.0, training_precision=precision).run_epoch(0))

    exact, short = losses("float32"), losses("bfloat16")
    assert short != exact
    assert short[0] == pytest.approx(exact[0], rel=0.01)
    assert losses("auto") == (short if multiplies_bfloat16() else exact)
    training = trainer(folder, training_precision="bfloat16")
    next(training.run_epoch(0))
    assert {one.dtype for one in training.state().values()} == {torch.float32, torch.int64}


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(folder: Path) -> None:
    training = trainer(folder)
    steps = training.run_epoch(0)
    next(steps)
    training.state()["weights.head.bias"][0] = float("inf")
    before = training.state()["weights.encoder.layers.0.inner.weight"].clone()
    with pytest.raises(NonFiniteLossError, match="step 1"):
        next(steps)
    assert torch.equal(training.state()["weights.encoder.layers.0.inner.weight"], before)


# Students


def test_an_encoder_learns_and_survives_the_disk(folder: Path, tmp_path: Path) -> None:
    student = fit(folder, {"epochs": 6}, validation=(TEXTS, TARGETS))
    given = probabilities(student, ["red car", "lost card", "", "blue sky"])
    assert given.argmax(axis=1)[[0, 1, 3]].tolist() == [0, 2, 1]
    np.testing.assert_allclose(given[:, 3], 0.5 / 23)
    np.testing.assert_allclose(given[2], student.common.space.prior_L)
    report = student.report
    assert (report.num_rows, report.num_held_out) == (21, 21)
    assert report.best_epoch in range(1, 7)
    assert report.unseen_labels == ("never",)
    assert student.calibration.num_rows == 21
    assert student.kind == "encoder"
    save_classifier(student, tmp_path)
    again = load_classifier(tmp_path)
    np.testing.assert_array_equal(again.logits(TEXTS), student.logits(TEXTS))
    assert again.report == report


def test_without_validation_rows_the_last_epoch_is_kept_and_the_report_says_so(
    folder: Path,
) -> None:
    student = fit(folder)
    assert student.report.best_epoch == 3
    assert student.report.held_out_nats is None
    assert "No validation rows" in student.report.warnings[-1]


def test_words_that_no_row_has_keep_their_meaning(folder: Path) -> None:
    student = fit(folder, {"precision": "float32"})
    _, _, weights = open_base(str(folder), max_tokens=16)
    learnt = student.encoder.weights["tokens.weight"]
    changed = {
        row for row in range(len(learnt)) if (learnt[row] != weights["tokens.weight"][row]).any()
    }
    used = {token for text in student.encoder.reader.ids(TEXTS) for token in text}
    assert changed == used


def test_several_labels_a_text_are_learnt(folder: Path) -> None:
    targets = np.array([["car" in text, "the" in text] for text in TEXTS], dtype=float)
    student = fit(
        folder,
        {"epochs": 8},
        targets_NL=targets,
        labels=("car", "the"),
        is_multiple=True,
        validation=(TEXTS, targets),
    )
    assert ((probabilities(student, TEXTS) > 0.5) == (targets > 0.5)).mean() > 0.9
    assert len(student.calibration.slopes) == 2


def test_two_readings_train_too(folder: Path) -> None:
    student = fit(folder, {"r_drop": 1.0, "dropout": 0.2}, validation=(TEXTS, TARGETS))
    assert student.report.held_out_agreement > 0.8


def test_blank_texts_are_not_read_but_count_in_the_prior(folder: Path) -> None:
    texts, targets = [*TEXTS, " "], np.vstack([TARGETS, np.eye(4)[[1]]])
    student = fit(folder, {"epochs": 1}, texts=texts, targets_NL=targets)
    assert student.common.space.prior_L[1] == 7.5 / 24
    with pytest.raises(DataError, match="All 2 texts are blank"):
        fit(folder, texts=["", " "], targets_NL=np.eye(4)[:2])


# Going on


class Stop(Exception):
    """What a user's Ctrl-C is to this test."""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("is_judged", [True, False])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    folder: Path, tmp_path: Path, is_judged: bool, precision: str
) -> None:
    options = {"validation": (TEXTS[:9], TARGETS[:9])} if is_judged else {}
    changes = {"dropout": 0.3, "training_precision": precision}
    whole = fit(folder, changes, **options)

    def stop_in_the_last_epoch(progress: Any) -> None:
        if progress.stage == "fit encoder" and progress.done > 2 * progress.total / 3:
            raise Stop

    with pytest.raises(Stop):
        fit(
            folder,
            changes,
            checkpoint_dir=tmp_path,
            on_progress=stop_in_the_last_epoch,
            **options,
        )
    seen: list[Any] = []
    resumed = fit(folder, changes, checkpoint_dir=tmp_path, on_progress=seen.append, **options)
    assert next(p.done for p in seen if p.stage == "fit encoder") == 2 * 6
    np.testing.assert_array_equal(resumed.logits(TEXTS), whole.logits(TEXTS))
    assert resumed.report == whole.report
    assert resumed.calibration == whole.calibration


def test_a_finished_training_is_not_repeated(folder: Path, tmp_path: Path) -> None:
    first = fit(folder, checkpoint_dir=tmp_path)
    seen: list[Any] = []
    again = fit(folder, checkpoint_dir=tmp_path, on_progress=seen.append)
    assert [p.done for p in seen if p.stage == "fit encoder"] == [18]
    np.testing.assert_array_equal(again.logits(TEXTS), first.logits(TEXTS))


@pytest.mark.parametrize("other", ["config", "seed", "targets"])
def test_the_checkpoint_of_another_training_is_not_taken_up(
    folder: Path, tmp_path: Path, other: str
) -> None:
    fit(folder, checkpoint_dir=tmp_path)
    seen: list[Any] = []
    options: dict[str, Any] = {"checkpoint_dir": tmp_path, "on_progress": seen.append}
    if other == "config":
        fit(folder, {"dropout": 0.2}, **options)
    elif other == "seed":
        fit(folder, seed=1, **options)
    else:
        fit(folder, targets_NL=TARGETS[::-1], **options)
    assert next(p.done for p in seen if p.stage == "fit encoder") == 0


def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(
    folder: Path, tmp_path: Path
) -> None:
    fit(folder, checkpoint_dir=tmp_path)
    path = tmp_path / "epoch.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="Remove it to begin"):
        fit(folder, checkpoint_dir=tmp_path)
