"""What is to be certified."""

from pydantic import ConfigDict, Field

from stillhouse.cascade import GateConfig
from stillhouse.records import Record


class CertifyConfig(Record):
    """How a student is certified to answer in place of its teacher."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    target: float = Field(default=0.97, gt=0.0, lt=1.0)
    """Agreement with the teacher over all requests, whoever answers them."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1.0)
    """How sure that has to be."""
    min_coverage: float = Field(default=0.01, gt=0.0, le=1.0)
    """Refuse a rule by which the student answers a smaller share of the requests."""
    grid_size: int = Field(default=200, ge=2)
    """Thresholds of confidence that are tried, strictest first."""
    max_rows: int | None = Field(default=None, ge=2)
    """Certify on so many rows, chosen by the hash of their ids; null takes all."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of an answer that a language model writes; null takes the teacher's limit."""
    constrain: bool = True
    """Hold the answers of language models to the labels or the schema of the task."""
    gate: GateConfig = GateConfig()
    seed: int = 0
    """Of the order in which graded losses are bet on."""
