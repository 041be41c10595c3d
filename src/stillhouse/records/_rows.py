"""Prompt, request, completion, example: one class per kind of row."""

import hashlib
from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from stillhouse.records._base import Record, content_hash

Role = Literal["system", "user", "assistant", "tool"]
Split = Literal["train", "held_out"]
FinishReason = Literal["stop", "length", "content_filter", "error"]


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: str


class Prompt(Record):
    """What is sent to a teacher, with where it belongs.

    `group` names what the prompt is about (a subject, a document, a customer). Splits keep a
    group on one side, and bootstrap intervals resample whole groups when they are given.
    """

    id: str = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1)
    split: Split = "train"
    group: str | None = None


class Sampling(Record):
    """How a completion is drawn. `temperature` 0 means greedy."""

    temperature: float = Field(default=1.0, ge=0.0, le=5.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(default=256, ge=1)
    seed: int = 0
    top_logprobs: int = Field(default=0, ge=0)
    """How many of the teacher's largest next-token log-probabilities to keep; 0 keeps none."""


class Request(Record):
    """One question to one teacher; its `id` is the hash of what it asks, not of its place."""

    id: str
    prompt_id: str
    teacher: str
    """The teacher's `TeacherInfo.id`: which model answers, not how it is reached."""
    messages: tuple[Message, ...]
    sampling: Sampling
    sample_index: int = Field(default=0, ge=0)

    @classmethod
    def of(cls, prompt: Prompt, *, teacher: str, sampling: Sampling, sample_index: int = 0) -> Self:
        """The request for `prompt`; equal content gives an equal id in every process."""
        identity = content_hash(
            {
                "teacher": teacher,
                "messages": [message.model_dump(mode="json") for message in prompt.messages],
                "sampling": sampling.model_dump(mode="json"),
                "sample_index": sample_index,
            }
        )
        return cls(
            id=identity,
            prompt_id=prompt.id,
            teacher=teacher,
            messages=prompt.messages,
            sampling=sampling,
            sample_index=sample_index,
        )

    @property
    def seed(self) -> int:
        """A 63-bit seed of this request alone, so answers do not depend on batching or order."""
        digest = hashlib.sha256(f"{self.sampling.seed}:{self.id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


class TokenLogprobs(Record):
    """A teacher's distribution at each completion token, in nats, never renormalised.

    Local teachers give ids, API teachers give token strings. The top lists are flat, `top_k`
    entries per token, largest first; an API that returned fewer for a token leaves -inf-free
    gaps out by lowering `top_k`.
    """

    token_ids: tuple[int, ...] | None = None
    tokens: tuple[str, ...] | None = None
    logprobs: tuple[float, ...]
    top_k: int = Field(default=0, ge=0)
    top_ids: tuple[int, ...] | None = None
    top_tokens: tuple[str, ...] | None = None
    top_logprobs: tuple[float, ...] = ()

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
    completion_tokens: int = Field(default=0, ge=0)
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

    @model_validator(mode="after")
    def _error_matches_reason(self) -> Self:
        if (self.error is not None) != (self.finish_reason == "error"):
            raise ValueError("finish_reason 'error' and the error field go together")
        return self


class Example(Record):
    """One curated training row: a prompt, the text to learn and the call it came from.

    `completion_token_ids` are the teacher's own tokens including its end-of-turn token, kept so
    that no re-tokenisation can move a boundary; they are valid only for a tokenizer with the
    hash in the dataset's manifest.
    """

    id: str
    prompt_id: str
    request_id: str
    messages: tuple[Message, ...] = Field(min_length=1)
    completion: str
    completion_token_ids: tuple[int, ...] | None = None
    split: Split = "train"
    group: str | None = None
