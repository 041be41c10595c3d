"""What a capture keeps of a teacher."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record

if TYPE_CHECKING:
    from stillhouse.signal import AdaptiveCodec, RelativeCodec, TopKCodec

_RELATIVE_TOP_K = 512

SignalCodec = Literal["topk", "adaptive", "relative", "sampled", "actual", "hidden", "kl_cache"]


class CaptureConfig(Record):
    """How to capture."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    codec: SignalCodec = "topk"
    """What is kept per token: `topk`, the largest log-probabilities and the mass outside;
    `adaptive`, only as many of them as `tail_mass` needs; `relative`, those that a gradient would
    miss, few where the teacher is certain and up to `top_k` where it is not;
    `sampled`, draws of the teacher; `actual`, the token's own log-probability; `hidden`, hidden
    states for a head that is stored once; `kl_cache`, what the frozen head of `student` needs of
    the teacher."""
    top_k: int = Field(default=32, ge=1, le=4_096)
    """Log-probabilities kept per token; the rest of the mass becomes the tail bucket. Of the codec
    `relative`, which needs most of them at few tokens only, the default is 512."""
    tail_mass: float = Field(default=0.005, gt=0.0, lt=1.0)
    """Codec `adaptive`: a token keeps no more ids once so little is outside them."""
    threshold: float = Field(default=0.012, gt=0.0, lt=1.0)
    """Codec `relative`: a token keeps no id whose probability is below so much of the length of a
    typical gradient there; half of it keeps about 1.7 times as many."""
    draws: int = Field(default=12, ge=1, le=255)
    """Codec `sampled`: draws per token."""
    flatten: float = Field(default=1.0, gt=0.0, le=1.0)
    """Codec `sampled`: draw from p to this power; the weights make up for it."""
    dtype: Literal["float16", "bfloat16"] = "float16"
    """Codecs `hidden` and `kl_cache`: how a number is kept."""
    student: str = "local:"
    """Codec `kl_cache`: the model whose head stays frozen in training."""
    any_author: bool = False
    """Score text that another model wrote, as the teacher's own tokenizer reads it: for students
    with another tokenizer than the teacher's (docs/training.md)."""
    seed: int = 0
    """Codec `sampled`: of the draws."""

    @model_validator(mode="after")
    def _choose_top_k(self) -> Self:
        if self.codec == "relative" and "top_k" not in self.model_fields_set:
            # Past the frozen record, so that it does not count as what the user set.
            object.__setattr__(self, "top_k", _RELATIVE_TOP_K)
        return self

    @property
    def top_k_codec(self) -> "TopKCodec | AdaptiveCodec | RelativeCodec | None":
        """What largest log-probabilities are kept in; None where something else is kept.

        It is known without the teacher's weights, and a collect pass may have recorded what it
        keeps.
        """
        from stillhouse.signal import AdaptiveCodec, RelativeCodec, TopKCodec

        if self.codec == "topk":
            return TopKCodec(self.top_k)
        if self.codec == "adaptive":
            return AdaptiveCodec(self.top_k, self.tail_mass)
        if self.codec == "relative":
            return RelativeCodec(self.top_k, self.threshold)
        return None
