"""Tasks, prompts and completions that tests of several rooms share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stillhouse.artifacts import Counts, TeacherRef, begin_artifact
from stillhouse.records import Completion, Message, Prompt, Request, Sampling, TokenLogprobs
from stillhouse.tasks import Task

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "city": {"type": ["string", "null"]}},
    "required": ["total"],
    "additionalProperties": False,
}


def classification(*labels: str, **changes: Any) -> Task:
    """A task with the given labels, or with two."""
    return Task.model_validate(
        {"name": "t", "kind": "classification", "labels": labels or ("spam", "ham"), **changes}
    )


def extraction(**changes: Any) -> Task:
    """A task whose answers follow `SCHEMA`."""
    return Task.model_validate({"name": "t", "kind": "extraction", "schema": SCHEMA, **changes})


def free_text(**changes: Any) -> Task:
    """A task that is answered in words."""
    return Task.model_validate({"name": "t", "kind": "text", **changes})


def prompt(name: str, text: str | None = None, **changes: Any) -> Prompt:
    """A prompt of one message; ids that begin with `held` are held out."""
    split = "held_out" if name.startswith("held") else "train"
    messages = (Message(role="user", content=text or f"about {name}"),)
    return Prompt.model_validate({"id": name, "messages": messages, "split": split, **changes})


def completion(
    asked: Prompt, text: str, *, teacher: str = "t", sample: int = 0, **changes: Any
) -> Completion:
    """An answer of a teacher."""
    request = Request.of(asked, teacher=teacher, sampling=Sampling(), sample_index=sample)
    return Completion.model_validate(
        {
            "request_id": request.id,
            "prompt_id": asked.id,
            "sample_index": sample,
            "text": text,
            "finish_reason": "stop",
            "model": "m",
            "created_utc": datetime(2026, 1, 2, tzinfo=UTC),
            "teacher": teacher,
            **changes,
        }
    )


def logprobs(*steps: tuple[str, dict[str, float]]) -> TokenLogprobs:
    """Tokens, each with the log-probabilities of the top tokens at its place."""
    top_k = len(steps[0][1])
    return TokenLogprobs(
        tokens=tuple(token for token, _ in steps),
        logprobs=tuple(top[token] for token, top in steps),
        top_k=top_k,
        top_tokens=tuple(name for _, top in steps for name in top),
        top_logprobs=tuple(value for _, top in steps for value in top.values()),
    )


def collected(path: Path, prompts: list[Prompt], completions: list[Completion]) -> Path:
    """A completions artefact."""
    writer = begin_artifact(path, kind="completions", stage="collect", config={})
    writer.write_rows("prompts", prompts, Prompt)
    writer.write_rows("completions", completions, Completion)
    writer.finish(
        counts=Counts.model_validate({"in": len(completions), "kept": len(completions)}),
        teacher=TeacherRef(id="t", provider="fake", revision=None),
        sampling=Sampling(),
    )
    return path
