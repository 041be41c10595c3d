"""A frozen sentence encoder with a linear head: no more than a reading of the texts to train."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._classifier import Common
from stillhouse.classifiers._configs import EmbeddingConfig, NgramConfig
from stillhouse.classifiers._frozen import FrozenEncoder
from stillhouse.classifiers._head import HeadFit, fit_head
from stillhouse.classifiers._judgement import judged
from stillhouse.classifiers._labels import LabelledRows, labelled_rows
from stillhouse.classifiers._mixture import Companion, companion_of
from stillhouse.classifiers._ngram import fit_ngram_rows
from stillhouse.classifiers._pretrained import open_base
from stillhouse.classifiers._sentence import SentenceClassifier
from stillhouse.classifiers._texts import is_blank
from stillhouse.classifiers._tokens import cut_warning
from stillhouse.runlog import Listener, Ticker, ignore_progress


def fit_embedding(
    texts: Sequence[str],
    targets_NL: npt.ArrayLike,
    *,
    labels: Sequence[str],
    is_multiple: bool = False,
    weights_N: npt.ArrayLike | None = None,
    config: EmbeddingConfig | None = None,
    seed: int = 0,
    on_progress: Listener = ignore_progress,
) -> SentenceClassifier:
    """A linear head on the states of a frozen sentence encoder, for soft targets.

    Args:
        texts: N texts.
        targets_NL: (N, L) probabilities; rows sum to 1 unless a text may have several labels.
        labels: L names.
        is_multiple: Whether a text may have several.
        weights_N: (N,) how much each row counts; None counts all alike.
        config: How to make it; None takes the defaults.
        seed: Of the parts that are held out to choose the penalty.
        on_progress: Is told as texts are read, and after each penalty that was tried.

    Raises:
        ConfigError: the encoder is not there, or of an unknown family.
        ShapeError: lengths do not fit together.
        DataError: there are no rows, all have one label, or targets are no probabilities.
        MissingDependencyError: onnxruntime or the default encoder is not installed.
    """
    config = config or EmbeddingConfig()
    rows = labelled_rows(
        texts, targets_NL, labels=labels, is_multiple=is_multiple, weights_N=weights_N
    )
    reader, shape, weights = open_base(config.base, max_tokens=config.max_tokens)
    encoder = FrozenEncoder.of(reader, weights, shape, config.precision)
    ticker = Ticker(on_progress, stage="read texts", total=len(texts), unit="texts")
    ids = reader.ids(rows.texts)
    states_ND = np.empty((len(ids), shape.width), dtype=np.float32)
    for row, of_text in enumerate(ids):
        states_ND[row] = encoder.state(of_text)
        ticker.advance()
    fitted = fit_head(
        states_ND, rows, l2=config.l2, seed=seed, stage="fit embedding", on_progress=on_progress
    )
    companion = None
    if config.ngrams is not None and not all(map(is_blank, rows.texts)):
        companion, fitted = _with_companion(
            rows, config.ngrams, fitted, seed=seed, on_progress=on_progress
        )
    report = fitted.report(rows, *cut_warning(ids, max_tokens=reader.max_tokens))
    common = Common(rows.space, fitted.judgement.calibration, report)
    return SentenceClassifier(common, config, encoder, fitted.head, companion)


def _with_companion(
    rows: LabelledRows,
    config: NgramConfig,
    fitted: HeadFit,
    *,
    seed: int,
    on_progress: Listener,
) -> tuple[Companion | None, HeadFit]:
    """The n-grams' part, and the fit as the rows that were held out judge it with that part."""
    ngram, theirs = fit_ngram_rows(rows, config, seed=seed, on_progress=on_progress)
    # Both held out the same rows, since their seed and targets are the same.
    targets_MS = rows.learnt_targets_NS[fitted.held_out]
    ours_MS, theirs_MS = fitted.held_out_logits_MS, theirs.held_out_logits_MS
    companion = companion_of(ngram, ours_MS, theirs_MS, targets_MS)
    if companion is None:
        return None, fitted
    both_MS = companion.mixed(ours_MS, theirs_MS)
    judgement = judged(
        both_MS,
        targets_MS,
        is_multiple=rows.space.is_multiple,
        weights_N=rows.weights_N[fitted.held_out],
    )
    return companion, replace(fitted, held_out_logits_MS=both_MS, judgement=judgement)
