"""Which student is fitted, to what, and what is done about a noisy teacher."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.classifiers import EmbeddingConfig, NgramConfig
from stillhouse.classifiers._configs import EncoderConfig
from stillhouse.fit._rows import Targets
from stillhouse.records import Record

StudentKind = Literal["ngram", "embedding", "encoder"]
NoiseMethod = Literal["auto", "off", "confident", "committee"]
NoiseAction = Literal["soften", "relabel", "drop"]
ProxyKind = Literal["auto", "ngram", "embedding"]


class NoiseConfig(Record):
    """What is done about answers that are probably wrong."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    method: NoiseMethod = "auto"
    """`committee` settles what several teachers answered differently, each weighed by how reliable
    it is; `confident` corrects answers that cheap students of the other rows confidently
    contradict; `auto` does the first where there are several teachers, and the second where
    clearly more than `min_rate` of the answers are wrong; `off` takes all as they are."""
    action: NoiseAction = "soften"
    """`soften` learns the probabilities of all labels to be right, `relabel` the likeliest label
    alone, `drop` leaves the row out."""
    min_rate: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Fraction of wrong answers that `auto` tolerates: cheap students also contradict answers that
    are right, and correcting those would do harm."""
    proxy: ProxyKind = "auto"
    """The cheap student; `auto` takes the one that answers rows it did not see better."""
    num_folds: int = Field(default=5, ge=2, le=20)
    """Parts of the rows; each is judged by cheap students of the others."""
    num_rounds: int = Field(default=3, ge=1, le=20)
    """How often the cheap students learn again from what was corrected."""
    ablate: bool = False
    """Also fit without corrections, and compare the two on the rows that were set aside."""


class FitConfig(Record):
    """Which student is fitted to a dataset's answers, and how."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    student: StudentKind = "ngram"
    """`ngram` (a linear model, no torch), `embedding` (a frozen sentence encoder with a linear
    head) or `encoder` (a sentence encoder that is trained too)."""
    targets: Targets = "soft"
    """`soft` learns the teacher's probabilities, `hard` its answers alone."""
    validation_fraction: float = Field(default=0.1, gt=0.0, lt=0.5)
    """Of the training rows, by the hash of group or prompt id: set aside to calibrate the student
    and to measure it before the held-out rows are touched."""
    noise: NoiseConfig = NoiseConfig()
    ngram: NgramConfig = NgramConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    encoder: EncoderConfig = EncoderConfig()
    seed: int = 0
