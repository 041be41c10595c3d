"""Prompt, request, completion, example: one class per kind of row."""

import hashlib
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stillhouse.records._base import Record, content_hash

Role = Literal["system", "user", "assistant", "tool"]
Split = Literal["train", "held_out"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]
_SPLITS: dict[str, Split] = {
    "train": "train",
    "held_out": "held_out",
    "test": "held_out",
    "validation": "held_out",
    "eval": "held_out",
}
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


def split_named(name: str) -> Split | None:
    """The split that a file's `name` stands for, in any case; None where it stands for none."""
    return _SPLITS.get(name.lower())


def unit_of(prompt_id: str, group: str | None) -> str:
    """What a row hangs together with: its group, or nothing but itself.

    Rows of one unit stay on one side of a split, and are one piece of evidence. A group that is
    called like a prompt is another unit.
    """
    return f"prompt {prompt_id}" if group is None else f"group {group}"


class ToolCall(Record):
    """A tool that an assistant wants called."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it, which may be no JSON at all."""


class Tool(Record):
    """A tool that a teacher may call."""

    name: str = Field(min_length=1)
    description: str = ""
    parameters: str
    """JSON Schema of the arguments, as JSON text."""


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's turn."""
    tool_call_id: str | None = None
    """Of a tool's turn: the call that it answers."""
    reasoning: str | None = None
    """What an assistant thought before it answered."""


class Prompt(Record):
    """What is sent to a teacher, with where it belongs.

    `group` names what the prompt is about (a subject, a document, a customer). Splits keep a
    group on one side, and bootstrap intervals resample whole groups when they are given.
    """

    id: str = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1)
    split: Split = "train"
    group: str | None = None
    tools: tuple[Tool, ...] = ()
    output_schema: str | None = None
    """JSON Schema that the answer must follow, as JSON text."""
    teacher: str | None = None
    """Which of a run's teachers is asked, by name; None where there is one, or all are."""
    reference: str | None = None
    """What a person says is the right answer. It is never sent, and not part of what is asked."""


class Sampling(Record):
    """How a completion is drawn. `temperature` 0 means greedy."""

    temperature: float = Field(default=1.0, ge=0.0, le=5.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(default=256, ge=1)
    seed: int = 0
    top_logprobs: int = Field(default=0, ge=0)
    """How many of the teacher's largest next-token log-probabilities to keep; 0 keeps none."""
    reasoning_effort: ReasoningEffort | None = None
    """How long a reasoning teacher thinks; None leaves it at the teacher's own default."""


class Request(Record):
    """One question to one teacher; its `id` is the hash of what it asks, not of its place."""

    id: str
    prompt_id: str
    teacher: str
    """The teacher's `TeacherInfo.id`: which model answers, not how it is reached."""
    messages: tuple[Message, ...]
    sampling: Sampling
    sample_index: int = Field(default=0, ge=0)
    tools: tuple[Tool, ...] = ()
    output_schema: str | None = None

    @classmethod
    def of(cls, prompt: Prompt, *, teacher: str, sampling: Sampling, sample_index: int = 0) -> Self:
        """The request for `prompt`; equal content gives an equal id in every process."""
        return cls(
            id=request_identity(prompt, teacher, sampling, sample_index),
            prompt_id=prompt.id,
            teacher=teacher,
            messages=prompt.messages,
            sampling=sampling,
            sample_index=sample_index,
            tools=prompt.tools,
            output_schema=prompt.output_schema,
        )

    @property
    def seed(self) -> int:
        """A 63-bit seed of this request alone, so answers do not depend on batching or order."""
        digest = hashlib.sha256(f"{self.sampling.seed}:{self.id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


# Fields that came after the first ledgers count only where they are set, so that what was asked
# before keeps its identity.
_LATER_SAMPLING = ("reasoning_effort",)


def request_identity(prompt: Prompt, teacher: str, sampling: Sampling, sample_index: int) -> str:
    """SHA-256 of everything that the answer depends on, and of nothing else."""
    asked: dict[str, Any] = {
        "teacher": teacher,
        "messages": [_identity_of(message) for message in prompt.messages],
        "sampling": _sampling_identity(sampling),
        "sample_index": sample_index,
    }
    if prompt.tools:
        asked["tools"] = [tool.model_dump(mode="json") for tool in prompt.tools]
    if prompt.output_schema is not None:
        asked["output_schema"] = prompt.output_schema
    return content_hash(asked)


@lru_cache(maxsize=64)  # a run has one, and asks for it with every request
def _sampling_identity(sampling: Sampling) -> dict[str, Any]:
    return {
        name: value
        for name, value in sampling.model_dump(mode="json").items()
        if value is not None or name not in _LATER_SAMPLING
    }


def messages_identity(messages: tuple[Message, ...]) -> str:
    """SHA-256 of a conversation, whatever the prompt that holds it is called."""
    return content_hash([_identity_of(message) for message in messages])


def _identity_of(message: Message) -> dict[str, Any]:
    # By hand: `model_dump(exclude_defaults=True)` takes ten times as long for the plain case.
    identity: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        identity["tool_calls"] = [call.model_dump(mode="json") for call in message.tool_calls]
    if message.tool_call_id is not None:
        identity["tool_call_id"] = message.tool_call_id
    if message.reasoning is not None:
        identity["reasoning"] = message.reasoning
    return identity


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
