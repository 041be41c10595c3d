"""What cheap students read texts as: features that linear heads are fitted on in no time.

Letters: N rows, M rows that were set aside, F features, D width of an encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers import EmbeddingConfig, Features, learn_vocabulary
from stillhouse.fit._config import FitConfig
from stillhouse.fit._rows import TaskRows
from stillhouse.runlog import Listener, Ticker

Kind = Literal["ngram", "embedding"]


@dataclass(frozen=True)
class Proxy:
    """Texts as one kind of cheap student reads them.

    Attributes:
        kind: Of the student.
        learn: (N, F) float32, dense or CSR.
        aside: (M, F) of the rows that were set aside.
    """

    kind: Kind
    learn: Features
    aside: Features


def open_proxy(
    kind: Kind, config: FitConfig, learn: TaskRows, aside: TaskRows, on_progress: Listener
) -> Proxy:
    """The features of all texts; none but those to learn from decide which features there are.

    Raises:
        MissingDependencyError: the kind of student needs a package that is not installed.
    """
    if kind == "ngram":
        vocabulary = learn_vocabulary(learn.texts, config.ngram)
        return Proxy(kind, vocabulary.matrix(learn.texts), vocabulary.matrix(aside.texts))
    states = _sentence_states((*learn.texts, *aside.texts), config.embedding, on_progress)
    return Proxy(kind, states[: len(learn)], states[len(learn) :])


def proxy_kinds(config: FitConfig) -> tuple[Kind, Kind | None]:
    """The kind of cheap student to ask first, and the one to compare it with where noise shows."""
    if config.noise.proxy != "auto":
        return config.noise.proxy, None
    return ("ngram", "embedding") if config.student == "ngram" else ("embedding", "ngram")


def _sentence_states(
    texts: Sequence[str], config: EmbeddingConfig, on_progress: Listener
) -> npt.NDArray[np.float32]:
    """(N, D) states of a sentence encoder."""
    from stillhouse.classifiers import FrozenEncoder, open_base

    reader, shape, weights = open_base(config.base, max_tokens=config.max_tokens)
    encoder = FrozenEncoder.of(reader, weights, shape, config.precision)
    ticker = Ticker(on_progress, stage="read texts", total=len(texts), unit="texts")
    states_ND = np.empty((len(texts), shape.width), dtype=np.float32)
    for row, ids in enumerate(reader.ids(texts)):
        states_ND[row] = encoder.state(ids)
        ticker.advance()
    return states_ND
