"""Students that answer a text with a distribution over labels.

From the cheapest to the best: `fit_ngram` (n-grams, no torch), `fit_embedding` (a frozen sentence
encoder with a linear head) and `fit_encoder` (the encoder is trained too). All of them learn from
soft targets, are calibrated on held-out rows, and are saved as JSON and safetensors.
"""

from stillhouse.classifiers._calibration import Calibration
from stillhouse.classifiers._classifier import (
    Classifier,
    FitReport,
    calibrated,
    probabilities,
)
from stillhouse.classifiers._configs import NgramConfig
from stillhouse.classifiers._files import load_classifier, save_classifier
from stillhouse.classifiers._folds import folds_of
from stillhouse.classifiers._ngram import NgramClassifier, fit_ngram

__all__ = [
    "Classifier",
    "FitReport",
    "probabilities",
    "Calibration",
    "calibrated",
    "NgramConfig",
    "NgramClassifier",
    "fit_ngram",
    "folds_of",
    "save_classifier",
    "load_classifier",
]
