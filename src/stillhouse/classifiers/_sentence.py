"""A student that reads with a sentence encoder, whether that was trained for it or not.

Letters: N texts, D width, L labels, S labels that can be learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from stillhouse.classifiers._calibration import Calibration
from stillhouse.classifiers._classifier import Classifier, Common, States, Stored
from stillhouse.classifiers._configs import EmbeddingConfig, EncoderConfig
from stillhouse.classifiers._frozen import FrozenEncoder
from stillhouse.classifiers._labels import Floats
from stillhouse.classifiers._linear import LinearHead
from stillhouse.classifiers._mixture import Companion
from stillhouse.classifiers._ngram import read_ngram
from stillhouse.classifiers._shape import TOKENIZER_NAME, EncoderShape
from stillhouse.classifiers._texts import is_blank
from stillhouse.classifiers._tokens import TokenReader
from stillhouse.errors import IntegrityError
from stillhouse.records import Record

_NGRAM = "ngram."


class _CompanionSettings(Record):
    ngram: dict[str, Any]
    ngram_calibration: Calibration
    calibration: Calibration
    share: float = Field(gt=0.0, lt=1.0)


@dataclass(frozen=True)
class SentenceClassifier(Classifier):
    """An encoder and a linear head.

    Attributes:
        config: How it was made, which says what kind it is.
        encoder: Texts to states.
        head: (D, S) states to logits.
        companion: The n-grams' part; None for an encoder alone.
    """

    config: EmbeddingConfig | EncoderConfig
    encoder: FrozenEncoder
    head: LinearHead
    companion: Companion | None = None

    @property
    def kind(self) -> Literal["embedding", "encoder"]:
        """Which kind of student it is."""
        return "embedding" if isinstance(self.config, EmbeddingConfig) else "encoder"

    @property
    def num_parameters(self) -> int:
        """Weights of encoder, head and n-grams."""
        of_head = self.head.weights_FL.size + self.head.bias_L.size
        of_ngrams = self.companion.ngram.num_parameters if self.companion else 0
        return self.encoder.num_parameters + of_head + of_ngrams

    def logits(self, texts: Sequence[str], states_ND: States | None = None) -> Floats:
        """(N, L) float64, before calibration; the prior's for blank texts."""
        space = self.common.space
        is_read_N = np.array([not is_blank(text) for text in texts], dtype=np.bool_)
        logits_NL = np.tile(space.prior_logits_L, (len(texts), 1))
        read = [text for text in texts if not is_blank(text)]
        states_RD = self.encoder.states(read) if states_ND is None else states_ND[is_read_N]
        # One by one, as the encoder does: a product of several rows may sum in another order.
        for row, text, state_D in zip(np.flatnonzero(is_read_N), read, states_RD, strict=True):
            logits_1S = self.head.logits(state_D[None])
            if self.companion:
                logits_1S = self.companion.mixed(logits_1S, self.companion.logits([text]))
            logits_NL[row] = space.complete(logits_1S)
        return logits_NL

    def states(self, texts: Sequence[str]) -> States:
        """(N, D) float32 states of the texts."""
        return self.encoder.states(texts)

    def stored(self) -> Stored:
        """What to write to disk."""
        settings: dict[str, Any] = {
            "config": self.config.model_dump(mode="json"),
            "shape": self.encoder.shape.model_dump(mode="json"),
        }
        arrays = {
            **self.encoder.arrays(),
            "head.weights": self.head.weights_FL,
            "head.bias": self.head.bias_L,
        }
        texts = {TOKENIZER_NAME: self.encoder.reader.definition}
        if self.companion:
            ngram = self.companion.ngram.stored()
            arrays |= {f"{_NGRAM}{name}": array for name, array in ngram.arrays.items()}
            texts |= ngram.texts
            settings["companion"] = {
                "ngram": ngram.settings,
                "ngram_calibration": self.companion.ngram.calibration.model_dump(mode="json"),
                "calibration": self.companion.calibration.model_dump(mode="json"),
                "share": self.companion.share,
            }
        return Stored(self.kind, settings, arrays, texts)


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
    return SentenceClassifier(common, config, encoder, head, _read_companion(common, stored))


def _read_companion(common: Common, stored: Stored) -> Companion | None:
    if "companion" not in stored.settings:
        return None
    given = _CompanionSettings.model_validate(stored.settings["companion"])
    for calibration in (given.calibration, given.ngram_calibration):
        if len(calibration.slopes) not in (0, common.space.is_learnt_L.sum()):
            raise IntegrityError("a calibration of the n-grams' part is of other labels")
    arrays = {
        name.removeprefix(_NGRAM): array
        for name, array in stored.arrays.items()
        if name.startswith(_NGRAM)
    }
    of_ngram = replace(common, calibration=given.ngram_calibration)
    ngram = read_ngram(of_ngram, Stored("ngram", given.ngram, arrays, stored.texts))
    return Companion(ngram, given.calibration, given.share)
