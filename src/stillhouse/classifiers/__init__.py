"""Students that answer a text with a distribution over labels.

From the cheapest to the best: `fit_ngram` (n-grams, no torch), `fit_embedding` (a frozen sentence
encoder with a linear head) and `fit_encoder` (the encoder is trained too). All of them learn from
soft targets, are calibrated on held-out rows, and are saved as JSON and safetensors.

What they are built of is of use alone, for who fits many cheap students: `learn_vocabulary` and
`open_base` with `FrozenEncoder` turn texts into features, `fit_linear` fits heads on them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from stillhouse.classifiers._calibration import Calibration
from stillhouse.classifiers._classifier import (
    Classifier,
    FitReport,
    calibrated,
    probabilities,
)
from stillhouse.classifiers._configs import EmbeddingConfig, EncoderConfig, NgramConfig
from stillhouse.classifiers._files import is_classifier_folder, load_classifier, save_classifier
from stillhouse.classifiers._folds import folds_of
from stillhouse.classifiers._linear import Features, LinearHead, fit_linear
from stillhouse.classifiers._ngram import NgramClassifier, fit_ngram
from stillhouse.classifiers._ngrams import Vocabulary, learn_vocabulary
from stillhouse.classifiers._shape import DEFAULT_ENCODER

if TYPE_CHECKING:
    from stillhouse.classifiers._embedding import fit_embedding
    from stillhouse.classifiers._encoder import fit_encoder
    from stillhouse.classifiers._frozen import FrozenEncoder
    from stillhouse.classifiers._pretrained import encoder_revision, open_base
    from stillhouse.classifiers._sentence import SentenceClassifier

__all__ = [
    "Classifier",
    "FitReport",
    "probabilities",
    "Calibration",
    "calibrated",
    "NgramConfig",
    "NgramClassifier",
    "fit_ngram",
    "EmbeddingConfig",
    "fit_embedding",
    "EncoderConfig",
    "fit_encoder",
    "SentenceClassifier",
    "DEFAULT_ENCODER",
    "encoder_revision",
    "folds_of",
    "Vocabulary",
    "learn_vocabulary",
    "FrozenEncoder",
    "open_base",
    "Features",
    "LinearHead",
    "fit_linear",
    "save_classifier",
    "load_classifier",
    "is_classifier_folder",
]

_LOADED_LATER = {
    "fit_embedding": "_embedding",
    "fit_encoder": "_encoder",
    "FrozenEncoder": "_frozen",
    "SentenceClassifier": "_sentence",
    "encoder_revision": "_pretrained",
    "open_base": "_pretrained",
}


def __getattr__(name: str) -> Any:
    if name in _LOADED_LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LOADED_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
