"""N-grams beside an encoder: the share that held-out rows ask for, and what is made of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_cases import make_encoder

from stillhouse.classifiers import (
    Calibration,
    EmbeddingConfig,
    NgramConfig,
    calibrated,
    fit_embedding,
    fit_ngram,
    load_classifier,
    probabilities,
    save_classifier,
)
from stillhouse.classifiers._judgement import judged
from stillhouse.classifiers._mixture import SHARES, companion_of
from stillhouse.errors import IntegrityError

LABELS = ("x", "y", "z")
# The tiny encoder's tokenizer knows none of these words: all it can tell is their number.
TEXTS = ["alpha one", "beta one", "gamma two", "delta", "alpha two", "beta two", "gamma one"] * 5
TARGETS = np.eye(3)[[0, 1, 2, 2, 0, 1, 2] * 5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("base"))


def embedding(folder: Path, **changes: Any) -> Any:
    config = EmbeddingConfig(**{"base": str(folder), "max_tokens": 16, **changes})
    return fit_embedding(TEXTS, TARGETS, labels=LABELS, config=config)


def ngrams() -> Any:
    """Some model whose logits count double, as those of `two_models` should."""
    student = fit_ngram(TEXTS, TARGETS, labels=LABELS)
    return student.with_calibration(Calibration(temperature=0.5))


def two_models(noise: float, *, seed: int = 0) -> tuple[Any, Any, Any]:
    """Targets, and logits of two models: one errs by `noise`, the other by 1 and on its own."""
    generator = np.random.default_rng(seed)
    targets = np.eye(3)[generator.integers(0, 3, 600)]
    ours = 2 * targets + generator.normal(scale=noise, size=targets.shape)
    return targets, ours, 2 * targets + generator.normal(scale=1.0, size=targets.shape)


def test_models_that_err_alike_and_apart_share_the_answer() -> None:
    ngram = ngrams()
    targets, ours, theirs = two_models(1.0)
    companion = companion_of(ngram, ours, theirs, targets)
    assert companion is not None
    assert companion.share >= 0.3
    both = judged(companion.mixed(ours, theirs), targets, is_multiple=False)
    assert both.nats < judged(ours, targets, is_multiple=False).nats - 0.05


def test_the_share_is_the_one_with_the_lowest_cross_entropy() -> None:
    ngram = ngrams()
    targets, ours, theirs = two_models(0.7)
    companion = companion_of(ngram, ours, theirs, targets)
    assert companion is not None
    own, their = companion.calibration.logits(ours), ngram.calibration.logits(theirs)
    nats = [
        judged((1 - share) * own + share * their, targets, is_multiple=False).nats
        for share in SHARES
    ]
    assert companion.share == SHARES[int(np.argmin(nats))]


def test_n_grams_that_say_nothing_are_left_out() -> None:
    ngram = ngrams()
    targets, ours, _ = two_models(1.0)
    nothing = np.random.default_rng(9).normal(scale=5, size=targets.shape)
    assert companion_of(ngram, ours, nothing, targets) is None


def test_words_that_the_encoder_does_not_know_are_told_by_n_grams(folder: Path) -> None:
    alone = embedding(folder, ngrams=None)
    both = embedding(folder)
    assert alone.companion is None
    assert both.companion is not None
    right = (probabilities(both, TEXTS).argmax(axis=1) == TARGETS.argmax(axis=1)).mean()
    assert right == 1
    assert (probabilities(alone, TEXTS).argmax(axis=1) == TARGETS.argmax(axis=1)).mean() < 0.8
    assert both.report.held_out_nats < alone.report.held_out_nats
    assert both.report.held_out_agreement > alone.report.held_out_agreement
    assert both.num_parameters > alone.num_parameters


def test_the_logits_are_the_mean_of_both_calibrated_ones(folder: Path) -> None:
    student = embedding(folder)
    companion = student.companion
    texts = ["alpha one", "delta two"]
    ours = companion.calibration.logits(student.head.logits(student.encoder.states(texts)))
    theirs = companion.ngram.calibration.logits(companion.ngram.logits(texts))
    expected = (1 - companion.share) * ours + companion.share * theirs
    np.testing.assert_allclose(student.logits(texts), expected, rtol=1e-6)
    np.testing.assert_array_equal(student.logits(texts)[1:], student.logits(texts[1:]))


@pytest.mark.parametrize("is_multiple", [False, True])
def test_a_mixed_student_survives_the_disk(folder: Path, tmp_path: Path, is_multiple: bool) -> None:
    config = EmbeddingConfig(base=str(folder), max_tokens=16)
    student: Any = fit_embedding(
        TEXTS, TARGETS, labels=LABELS, config=config, is_multiple=is_multiple
    )
    student = calibrated(student, TEXTS, TARGETS)
    assert student.companion is not None
    save_classifier(student, tmp_path)
    again: Any = load_classifier(tmp_path)
    texts = [*TEXTS, "", "something", "x" * 1000]
    np.testing.assert_array_equal(again.logits(texts), student.logits(texts))
    np.testing.assert_array_equal(probabilities(again, texts), probabilities(student, texts))
    assert again.companion.share == student.companion.share
    assert again.num_bytes == student.num_bytes


@pytest.mark.parametrize("damage", ["vocabulary", "share", "slopes", "weights"])
def test_a_damaged_companion_is_an_integrity_error(
    folder: Path, tmp_path: Path, damage: str
) -> None:
    save_classifier(embedding(folder), tmp_path)
    header = json.loads((tmp_path / "classifier.json").read_bytes())
    companion = header["settings"]["companion"]
    if damage == "vocabulary":
        (tmp_path / "vocabulary.json").unlink()
    elif damage == "share":
        companion["share"] = 2.0
    elif damage == "slopes":
        companion["calibration"] = {"slopes": [1.0], "offsets": [0.0]}
    else:
        (tmp_path / "vocabulary.json").write_text('{"chars": ["a"], "words": []}')
    (tmp_path / "classifier.json").write_text(json.dumps(header))
    with pytest.raises(IntegrityError, match="Fit the student again"):
        load_classifier(tmp_path)


def test_n_grams_take_their_own_settings(folder: Path) -> None:
    student = embedding(folder, ngrams=NgramConfig(word_lengths=(1, 1)))
    assert all(" " not in word for word in student.companion.ngram.vocabulary.words)
