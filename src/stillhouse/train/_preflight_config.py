"""What is checked before the first step, and how far a measurement may be off."""

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class PreflightConfig(Record):
    """Limits of the checks before the first step."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    texts: int = Field(default=16, ge=0)
    """Training examples that are looked at closely, spread over the dataset; 0 checks nothing."""
    teacher: str | None = None
    """Score them with this teacher too (`local:FOLDER`); null does so only where the base is it."""
    max_excess_nats: float = Field(default=0.5, gt=0.0)
    """By how much the teacher may find its own tokens less likely than its entropy says."""
    max_deficit_nats: float = Field(default=2.0, gt=0.0)
    """The same the other way, for text drawn at temperature 1 from all tokens. Wide, since leaving
    out texts that were cut or loop makes what is kept likelier."""
    max_nll_nats: float = Field(default=10.0, gt=0.0)
    """Mean per token that the teacher may need for text that does not come with its own tokens."""
    max_repeat_nats: float = Field(default=1e-3, gt=0.0)
    """How far apart two scorings of a token by the teacher may lie."""
    max_gap_nats: float = Field(default=0.01, gt=0.0)
    """Mean KL(signal || teacher) per token."""
    max_leaked: float = Field(default=0.01, ge=0.0, le=1.0)
    """Share of held-out prompts that may also be training prompts."""
    allow_other_template: bool = False
    """Learn the teacher's tokens after prompts in another template than its own."""
