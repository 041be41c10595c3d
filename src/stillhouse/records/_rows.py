"""Prompt, request, example: one class per kind of row; completions are beside."""

import hashlib
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field

from stillhouse.records._base import Record, content_hash

Role = Literal["system", "user", "assistant", "tool"]
Split = Literal["train", "held_out"]
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


def _check_label_set(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(labels) == 1:
        raise ValueError(f"there is {labels[0]!r} alone; give two labels or more, or none")
    if not all(label.strip() for label in labels):
        raise ValueError("one is blank; name it, or leave it out")
    if len(set(labels)) < len(labels):
        raise ValueError("one is there twice; give each once")
    return labels


LabelSet = Annotated[tuple[str, ...], AfterValidator(_check_label_set)]
"""Labels to choose one from: none at all, or two and more that differ."""


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
    labels: LabelSet = ()
    """The answers to choose from, of which one is right; empty where the answer is free. Teachers
    that tell the probability of each need them; what others are sent does not hold them."""


def prompt_content(prompt: Prompt) -> dict[str, Any]:
    """All of a prompt as JSON data, to be hashed.

    Labels stand there only where there are some: prompts from before there were any keep their
    hash.
    """
    content = prompt.model_dump(mode="json")
    if not prompt.labels:
        del content["labels"]
    return content


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
    labels: LabelSet = ()
    """What to choose from, where the teacher is told; see `Prompt.labels`."""

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
            labels=prompt.labels,
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
    if prompt.labels:
        asked["labels"] = prompt.labels
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
