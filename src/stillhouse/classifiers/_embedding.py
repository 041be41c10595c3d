"""A frozen sentence encoder with a linear head: no more than a reading of the texts to train."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._classifier import Common
from stillhouse.classifiers._configs import EmbeddingConfig
from stillhouse.classifiers._frozen import FrozenEncoder
from stillhouse.classifiers._head import fit_head
from stillhouse.classifiers._labels import labelled_rows
from stillhouse.classifiers._pretrained import open_base
from stillhouse.classifiers._sentence import SentenceClassifier
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
        states_ND,
        rows,
        l2=config.l2,
        seed=seed,
        stage="fit embedding",
        on_progress=on_progress,
    )
    warnings = cut_warning(ids, max_tokens=reader.max_tokens)
    common = Common(rows.space, fitted.calibration, fitted.report(rows, *warnings))
    return SentenceClassifier(common, config, encoder, fitted.head)
