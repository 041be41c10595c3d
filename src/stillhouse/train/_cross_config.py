"""How a student learns from a teacher with another tokenizer."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class CrossConfig(Record):
    """A signal in the tokens of another tokenizer, and how it is brought to the student's."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    teacher: str | None = None
    """Where the tokenizer of the signal's teacher is: `local:` is the embedded teacher,
    `local:FOLDER` any. No weights are read. Null: the signal has the student's own tokens."""
    max_boundary_bias: float = Field(default=0.1, ge=0.0, le=1.0)
    """Two tokens that end at the same byte end a chunk if one tokenizer knows no more than this of
    the text to come than the other, as a share of the texts; else the chunk goes on."""
    tau: float = Field(default=100.0, gt=0.0)
    """Objective `alm`: divides the log-probabilities of chunks."""
    ids_per_token: int = Field(default=4, ge=1, le=64)
    """Divergences: student tokens that one of the teacher's tokens can stand for."""
    unaligned: Literal["text", "none"] = "text"
    """Divergences: what is learnt where the student is in the middle of a chunk, so that the
    teacher's distribution is of other bytes: the text itself, or nothing."""
    uld_weight: float = Field(default=1.5, gt=0.0)
    """Objective `uld`: what the sorted distributions count beside the text."""
