"""The settings of a scan."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record

ScanStudent = Literal["ngram", "embedding"]


class ScanConfig(Record):
    """How a log is scanned."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    target: float = Field(default=0.97, gt=0.5, lt=1.0)
    """Agreement with the teacher that the answers of a student have to reach."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1.0)
    """Of what is promised, for all parts of the traffic together."""
    students: tuple[ScanStudent, ...] = Field(default=("ngram", "embedding"), min_length=1)
    """Cheap students that are tried; the better one, on rows of its own, is certified. `embedding`
    is left out, and the results say so, where its encoder is not installed."""
    max_prompts: int = Field(default=2000, ge=1)
    """Distinct prompts that are looked at, of a larger log a sample by hash."""
    certify_fraction: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Part of the prompts that nothing is chosen on, and that alone carries the promise."""
    max_certify: int = Field(default=1000, ge=1)
    """Most prompts of each part that are kept back for it."""
    max_parts: int = Field(default=5, ge=1)
    """Kinds of prompts that are scanned each by itself, the most frequent first."""
    num_folds: int = Field(default=5, ge=2)
    """Parts that are held out in turn wherever something is chosen."""
    seed: int = 0
    """Of the sample, of what is kept back and of the folds."""
