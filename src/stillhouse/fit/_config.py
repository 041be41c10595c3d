"""Which student is fitted, to what, and what is done about a noisy teacher."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from stillhouse.classifiers import EmbeddingConfig, EncoderConfig, NgramConfig
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
    it is; `confident` corrects answers that cheap students of other rows contradict; `auto` does
    the first where teachers differ, and the second where clearly more than `min_rate` of the
    answers are wrong at random; `off` takes all as they are."""
    action: NoiseAction = "soften"
    """`soften` learns the probabilities of all labels to be right, `relabel` the likeliest label
    alone, `drop` leaves the row out."""
    min_rate: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Fraction of wrong answers that `auto` leaves alone."""
    proxy: ProxyKind = "auto"
    """The cheap student; `auto` takes the one that answers rows it did not see better."""
    num_folds: int = Field(default=5, ge=3, le=20)
    """Parts of the rows; each is judged by cheap students of the others."""
    ablate: bool = False
    """Also fit without corrections, and compare the two on the rows that were set aside."""

    @field_validator("method", mode="before")
    @classmethod
    def _off_is_a_word(cls, given: Any) -> Any:
        return "off" if given is False else given  # which YAML makes of it


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
    terms: str | None = Field(default=None, exclude=True)
    """File that declares what the student is for (docs/terms.md); null takes the one that the
    environment variable STILLHOUSE_TERMS names. What it says stands in the results."""
