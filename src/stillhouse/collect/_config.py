"""The settings of collect."""

from pydantic import ConfigDict, Field

from stillhouse.records import Record, Sampling

STAGE = "collect"


class CollectConfig(Record):
    """How to collect."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    sampling: Sampling = Sampling()
    samples_per_prompt: int = Field(default=1, ge=1)
    """Completions drawn for each prompt."""
    max_failure_fraction: float = Field(default=0.05, ge=0.0, le=1.0)
    """The stage fails when a larger part of the requests failed."""
