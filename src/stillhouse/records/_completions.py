"""The completion: what a teacher answered, and all that it tells about it."""

import math
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stillhouse.records._base import Record
from stillhouse.records._rows import ToolCall

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]

_SUM_TOLERANCE = 1e-6  # of probabilities in double precision

FLOAT32 = "float32"
Float32 = Annotated[float, FLOAT32]
"""A number that its table stores in four bytes: models compute their log-probabilities in no more.
"""


class TokenLogprobs(Record):
    """A teacher's distribution at each completion token, in nats, never renormalised.

    Local teachers give ids, API teachers give token strings. The top lists are flat, `top_k`
    entries per token, largest first; an API that returned fewer for a token leaves -inf-free
    gaps out by lowering `top_k`.
    """

    token_ids: tuple[int, ...] | None = None
    tokens: tuple[str, ...] | None = None
    logprobs: tuple[Float32, ...]
    top_k: int = Field(default=0, ge=0)
    top_ids: tuple[int, ...] | None = None
    top_tokens: tuple[str, ...] | None = None
    top_logprobs: tuple[Float32, ...] = ()

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        num_tokens = len(self.logprobs)
        for name, length in (("token_ids", num_tokens), ("tokens", num_tokens)):
            given = getattr(self, name)
            if given is not None and len(given) != length:
                raise ValueError(f"{name} has {len(given)} entries for {length} logprobs")
        flat = num_tokens * self.top_k
        for name in ("top_ids", "top_tokens", "top_logprobs"):
            given = getattr(self, name)
            if given is not None and len(given) != flat:
                raise ValueError(f"{name} has {len(given)} entries, not {num_tokens} x top_k")
        return self


class Usage(Record):
    """What a call, or a whole stage, consumed."""

    prompt_tokens: int = Field(default=0, ge=0)
    """All that was read, cached tokens included."""
    completion_tokens: int = Field(default=0, ge=0)
    """All that was written and billed, reasoning included."""
    cached_prompt_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)
    reasoning_tokens: int = Field(default=0, ge=0)
    audio_tokens: int = Field(default=0, ge=0)
    cost_usd: float | None = None
    """None means the price is unknown; 0.0 means it cost nothing."""
    seconds: float = Field(default=0.0, ge=0.0)


class ItemError(Record):
    """Why one item failed; a bad item is data, not a crash."""

    type: str
    message: str
    retryable: bool = False


class Completion(Record):
    """A teacher's answer to one request, or the error that took its place."""

    request_id: str
    prompt_id: str
    sample_index: int = 0
    text: str
    finish_reason: FinishReason
    model: str
    """What the teacher says answered (APIs may name a dated revision)."""
    usage: Usage = Usage()
    created_utc: datetime
    logprobs: TokenLogprobs | None = None
    error: ItemError | None = None
    reasoning: str | None = None
    """What the teacher thought before it answered, as far as it tells."""
    tool_calls: tuple[ToolCall, ...] = ()
    teacher: str = ""
    """Id of the teacher that was asked."""
    label_probabilities: dict[str, float] | None = None
    """How probable each of the prompt's labels is to be the one answer, as the teacher tells it; 1
    in all, or less where it may answer something else. None where it does not tell."""

    source: str | None = None
    """Where an import read it in what it was given, such as `line 12`, or `request` and its id of
    a ledger; None where it was not imported."""

    @model_validator(mode="after")
    def _label_probabilities_are_some(self) -> Self:
        given = self.label_probabilities
        if given is None:
            return self
        for label, probability in given.items():
            if not 0.0 <= probability <= 1.0:  # nor NaN
                raise ValueError(f"the probability of label {label!r} is {probability}, not 0 to 1")
        total = math.fsum(given.values())
        if not 0.0 < total <= 1.0 + _SUM_TOLERANCE:
            raise ValueError(f"label_probabilities sum to {total:g}, not to 1 or something below")
        return self

    @model_validator(mode="after")
    def _error_matches_reason(self) -> Self:
        if (self.error is not None) != (self.finish_reason == "error"):
            raise ValueError("finish_reason 'error' and the error field go together")
        return self
