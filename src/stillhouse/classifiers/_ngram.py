"""The cheapest student: a linear model on character and word n-grams. It needs no torch.

Letters: N texts, F features, L labels, S labels that can be learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from stillhouse.classifiers._classifier import Classifier, Common, States, Stored
from stillhouse.classifiers._configs import NgramConfig
from stillhouse.classifiers._head import HeadFit, fit_head
from stillhouse.classifiers._labels import Floats, LabelledRows, labelled_rows
from stillhouse.classifiers._linear import LinearHead
from stillhouse.classifiers._ngrams import Vocabulary, learn_vocabulary
from stillhouse.errors import DataError, IntegrityError
from stillhouse.runlog import Listener, ignore_progress

VOCABULARY_NAME = "vocabulary.json"


@dataclass(frozen=True)
class NgramClassifier(Classifier):
    """A linear model on n-grams.

    Attributes:
        config: How it was made.
        vocabulary: Its features.
        head: (F, S) weights that float16 holds exactly.
    """

    config: NgramConfig
    vocabulary: Vocabulary
    head: LinearHead

    @property
    def kind(self) -> Literal["ngram"]:
        """Which kind of student it is."""
        return "ngram"

    @property
    def num_parameters(self) -> int:
        """Weights of the head."""
        return self.head.weights_FL.size + self.head.bias_L.size

    def logits(self, texts: Sequence[str], states_ND: States | None = None) -> Floats:
        """(N, L) float64, before calibration; the prior's where no n-gram is known."""
        # One by one, also in batches: sums of another order would differ in their last digits.
        space = self.common.space
        logits_NL = np.empty((len(texts), len(space.names)))
        for row, text in enumerate(texts):
            ids_F, values_F = self.vocabulary.features(text)
            if not len(ids_F):
                logits_NL[row] = space.prior_logits_L
                continue
            logits_S = values_F @ self.head.weights_FL[ids_F] + self.head.bias_L
            logits_NL[row] = space.complete(logits_S[None].astype(np.float64))
        return logits_NL

    def stored(self) -> Stored:
        """What to write to disk."""
        vocabulary = {"chars": self.vocabulary.chars, "words": self.vocabulary.words}
        arrays: dict[str, npt.NDArray[Any]] = {
            "weights": self.head.weights_FL.astype(np.float16),
            "bias": self.head.bias_L,
            "feature_weights": self.vocabulary.weights_F,
        }
        texts = {VOCABULARY_NAME: orjson.dumps(vocabulary).decode()}
        return Stored(self.kind, self.config.model_dump(mode="json"), arrays, texts)


def fit_ngram(
    texts: Sequence[str],
    targets_NL: npt.ArrayLike,
    *,
    labels: Sequence[str],
    is_multiple: bool = False,
    weights_N: npt.ArrayLike | None = None,
    config: NgramConfig | None = None,
    seed: int = 0,
    on_progress: Listener = ignore_progress,
) -> NgramClassifier:
    """A linear model on n-grams, for soft targets.

    Args:
        texts: N texts.
        targets_NL: (N, L) probabilities; rows sum to 1 unless a text may have several labels.
        labels: L names.
        is_multiple: Whether a text may have several.
        weights_N: (N,) how much each row counts; None counts all alike.
        config: How to make it; None takes the defaults.
        seed: Of the parts that are held out to choose the penalty.
        on_progress: Is told after each penalty that was tried.

    Raises:
        ShapeError: lengths do not fit together.
        DataError: there are no rows, all have one label or are blank, or targets are no
            probabilities.
    """
    rows = labelled_rows(
        texts, targets_NL, labels=labels, is_multiple=is_multiple, weights_N=weights_N
    )
    student, _ = fit_ngram_rows(rows, config or NgramConfig(), seed=seed, on_progress=on_progress)
    return student


def fit_ngram_rows(
    rows: LabelledRows, config: NgramConfig, *, seed: int, on_progress: Listener
) -> tuple[NgramClassifier, HeadFit]:
    """A student from checked rows, and what those held out said about it.

    Raises:
        DataError: all texts are blank.
    """
    vocabulary = learn_vocabulary(rows.texts, config)
    if not len(vocabulary):
        raise DataError(f"All {len(rows.texts)} texts are blank: there is nothing to learn from.")
    fitted = fit_head(
        vocabulary.matrix(rows.texts),
        rows,
        l2=config.l2,
        seed=seed,
        stage="fit ngram",
        on_progress=on_progress,
    )
    head = LinearHead(_in_half(fitted.head.weights_FL), fitted.head.bias_L)
    common = Common(rows.space, fitted.judgement.calibration, fitted.report(rows))
    return NgramClassifier(common, config, vocabulary, head), fitted


def read_ngram(common: Common, stored: Stored) -> NgramClassifier:
    """The classifier that `stored` came from.

    Raises:
        IntegrityError: its parts do not fit together.
    """
    config = NgramConfig.model_validate(stored.settings)
    vocabulary = _read_vocabulary(stored, config)
    num_learnt = int(common.space.is_learnt_L.sum())
    weights_FL = stored.arrays["weights"]
    bias_L = stored.arrays["bias"]
    shapes = (weights_FL.shape, bias_L.shape)
    if shapes != ((len(vocabulary), num_learnt), (num_learnt,)):
        raise IntegrityError(
            f"The weights have the shapes {shapes} for {len(vocabulary)} n-grams and {num_learnt} "
            "labels. Fit the student again."
        )
    head = LinearHead(weights_FL.astype(np.float32), bias_L)
    return NgramClassifier(common, config, vocabulary, head)


def _read_vocabulary(stored: Stored, config: NgramConfig) -> Vocabulary:
    lists = orjson.loads(stored.texts[VOCABULARY_NAME])
    grams = [_gram_list(lists, name) for name in ("chars", "words")]
    weights_F = stored.arrays["feature_weights"]
    if weights_F.shape != (len(grams[0]) + len(grams[1]),):
        raise IntegrityError(
            f"{VOCABULARY_NAME} has {len(grams[0]) + len(grams[1])} n-grams, and there are "
            f"{weights_F.shape} weights of them. Fit the student again."
        )
    return Vocabulary(grams[0], grams[1], weights_F, config.char_lengths, config.word_lengths)


def _gram_list(lists: Any, name: str) -> tuple[str, ...]:
    grams = lists.get(name) if isinstance(lists, dict) else None
    if not isinstance(grams, list) or not all(isinstance(gram, str) for gram in grams):
        raise IntegrityError(
            f"{VOCABULARY_NAME} holds no list of n-grams {name!r}. Fit the student again."
        )
    if len(set(grams)) != len(grams):
        raise IntegrityError(f"{VOCABULARY_NAME} repeats n-grams. Fit the student again.")
    return tuple(grams)


def _in_half(weights_FL: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rounded to what float16 holds: half the size, and what is saved is what was fitted."""
    return weights_FL.astype(np.float16).astype(np.float32)
