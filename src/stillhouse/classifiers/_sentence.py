"""A student that reads with a sentence encoder, whether that was trained for it or not.

Letters: N texts, D width, L labels, S labels that can be learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stillhouse.classifiers._classifier import Classifier, Common, Stored
from stillhouse.classifiers._configs import EmbeddingConfig, EncoderConfig
from stillhouse.classifiers._frozen import FrozenEncoder
from stillhouse.classifiers._labels import Floats
from stillhouse.classifiers._linear import LinearHead
from stillhouse.classifiers._shape import TOKENIZER_NAME, EncoderShape
from stillhouse.classifiers._texts import is_blank
from stillhouse.classifiers._tokens import TokenReader
from stillhouse.errors import IntegrityError


@dataclass(frozen=True)
class SentenceClassifier(Classifier):
    """An encoder and a linear head.

    Attributes:
        config: How it was made, which says what kind it is.
        encoder: Texts to states.
        head: (D, S) states to logits.
    """

    config: EmbeddingConfig | EncoderConfig
    encoder: FrozenEncoder
    head: LinearHead

    @property
    def kind(self) -> Literal["embedding", "encoder"]:
        """Which kind of student it is."""
        return "embedding" if isinstance(self.config, EmbeddingConfig) else "encoder"

    @property
    def num_parameters(self) -> int:
        """Weights of encoder and head."""
        return self.encoder.num_parameters + self.head.weights_FL.size + self.head.bias_L.size

    def logits(self, texts: Sequence[str]) -> Floats:
        """(N, L) float64, before calibration; the prior's for blank texts."""
        space = self.common.space
        is_read_N = np.array([not is_blank(text) for text in texts], dtype=np.bool_)
        logits_NL = np.tile(space.prior_logits_L, (len(texts), 1))
        states_RD = self.encoder.states([text for text in texts if not is_blank(text)])
        # One by one, as the encoder does: a product of several rows may sum in another order.
        for row, state_D in zip(np.flatnonzero(is_read_N), states_RD, strict=True):
            logits_NL[row] = space.complete(self.head.logits(state_D[None]))
        return logits_NL

    def stored(self) -> Stored:
        """What to write to disk."""
        settings = {
            "config": self.config.model_dump(mode="json"),
            "shape": self.encoder.shape.model_dump(mode="json"),
        }
        arrays = {
            **self.encoder.arrays(),
            "head.weights": self.head.weights_FL,
            "head.bias": self.head.bias_L,
        }
        return Stored(self.kind, settings, arrays, {TOKENIZER_NAME: self.encoder.reader.definition})


def read_sentence(common: Common, stored: Stored) -> SentenceClassifier:
    """The classifier that `stored` came from.

    Raises:
        IntegrityError: its parts do not fit together.
    """
    of_kind = EmbeddingConfig if stored.kind == "embedding" else EncoderConfig
    config = of_kind.model_validate(stored.settings["config"])
    shape = EncoderShape.model_validate(stored.settings["shape"])
    max_tokens = min(config.max_tokens, shape.positions)
    reader = TokenReader(stored.texts[TOKENIZER_NAME], max_tokens=max_tokens)
    encoder = FrozenEncoder.read(stored.arrays, shape, config.precision, reader)
    head = LinearHead(stored.arrays["head.weights"], stored.arrays["head.bias"])
    num_learnt = int(common.space.is_learnt_L.sum())
    shapes = (head.weights_FL.shape, head.bias_L.shape)
    if shapes != ((shape.width, num_learnt), (num_learnt,)):
        raise IntegrityError(
            f"the head has the shapes {shapes} for a width of {shape.width} and {num_learnt} labels"
        )
    return SentenceClassifier(common, config, encoder, head)
