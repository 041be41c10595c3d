"""Completions to examples: what is dropped is counted by reason, and each filter can be off."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.artifacts import (
    Artifact,
    Counts,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.errors import DataError, IntegrityError
from stillhouse.records import Completion, Example, Prompt, Record, Usage, content_hash
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.statistics import is_looping

_STAGE = "curate"
_ID_HEX_DIGITS = 16


class CurateConfig(Record):
    """Which completions become training examples.

    Held-out rows are exempt from all of these but `deduplicate`: the student is measured on them,
    and leaving out the teacher's long or looping answers would flatter it. Completions without
    text, and those that the teacher's own filter cut, are dropped on both sides.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    drop_truncated: bool = True
    """Drop completions that ended at `max_tokens`: the student would learn to stop mid-sentence."""
    drop_looping: bool = True
    """Drop completions in which a run of three words occurs three times or more."""
    min_chars: int = Field(default=1, ge=1)
    max_chars: int | None = Field(default=None, ge=1)
    deduplicate: bool = True
    """Keep one of several equal completions of the same messages."""

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        if self.max_chars is not None and self.max_chars < self.min_chars:
            raise ValueError(f"max_chars={self.max_chars} is below min_chars={self.min_chars}")
        return self


def curate(
    completions: Path,
    out: Path,
    *,
    config: CurateConfig,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Make the dataset that a student is trained on, and measured on, from completions.

    Args:
        completions: A completions artefact.
        out: Folder of the dataset; one that the same inputs made is returned as it is.
        config: What to drop.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about the completions read.

    Returns:
        An artefact of the kind `dataset`; teacher, sampling and fingerprints are the parent's.

    Raises:
        DataError: nothing is left.
        IntegrityError: the completions artefact is not sound.
        ConfigError: a path is wrong, or `completions` is another kind of artefact.
    """
    parent = open_artifact(completions, kind="completions")
    resolved = config.model_dump(mode="json")
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=[parent]):
        return open_artifact(out)
    writer = begin_artifact(
        out,
        kind="dataset",
        stage=_STAGE,
        config=resolved,
        config_given=config_given,
        parents=[parent],
        replace=replace,
    )
    try:
        dropped: Counter[str] = Counter()
        ticker = Ticker(
            on_progress, stage=_STAGE, total=parent.manifest.counts.kept, unit="completions"
        )
        examples = _examples(parent, config, dropped, ticker)
        num_kept = writer.write_rows("examples", examples, Example)
        if num_kept == 0:
            raise DataError(_why_nothing_is_left(parent, dropped))
        manifest = parent.manifest
        counts = {
            "in": num_kept + dropped.total(),
            "kept": num_kept,
            "dropped": dict(sorted(dropped.items())),
        }
        return writer.finish(
            counts=Counts.model_validate(counts),
            usage=Usage(cost_usd=0.0),
            teacher=manifest.teacher,
            tokenizer_sha256=manifest.tokenizer.sha256 if manifest.tokenizer else None,
            chat_template_sha256=manifest.chat_template_sha256,
            sampling=manifest.sampling,
            seeds=manifest.seeds,
        )
    finally:
        writer.release()


def _examples(
    parent: Artifact, config: CurateConfig, dropped: Counter[str], ticker: Ticker
) -> Iterator[Example]:
    prompts = {prompt.id: prompt for prompt in parent.rows("prompts", Prompt)}
    seen: set[str] = set()
    for completion in parent.rows("completions", Completion):
        prompt = prompts.get(completion.prompt_id)
        if prompt is None:
            raise IntegrityError(
                f"{parent.path} holds a completion for prompt {completion.prompt_id!r}, which is "
                "not among its prompts. Collect it again."
            )
        ticker.advance()
        reason = _reason_to_drop(completion, prompt, config)
        if reason is None and config.deduplicate and _is_repeated(completion, prompt, seen):
            reason = "duplicate"
        if reason is None:
            yield _example(completion, prompt)
        else:
            dropped[reason] += 1


def _reason_to_drop(completion: Completion, prompt: Prompt, config: CurateConfig) -> str | None:
    text = completion.text.strip()
    if completion.finish_reason == "error":
        return "error"
    if completion.finish_reason == "content_filter":
        return "filtered"
    if not text:
        return "empty"
    if prompt.split == "held_out":
        return None
    if config.drop_truncated and completion.finish_reason == "length":
        return "truncated"
    if config.drop_looping and is_looping(text):
        return "looping"
    if len(text) < config.min_chars:
        return "too_short"
    if config.max_chars is not None and len(text) > config.max_chars:
        return "too_long"
    return None


def _is_repeated(completion: Completion, prompt: Prompt, seen: set[str]) -> bool:
    key = content_hash([prompt.model_dump(mode="json")["messages"], completion.text])
    is_repeated = key in seen
    seen.add(key)
    return is_repeated


def _example(completion: Completion, prompt: Prompt) -> Example:
    logprobs = completion.logprobs
    return Example(
        id=completion.request_id[:_ID_HEX_DIGITS],
        prompt_id=prompt.id,
        request_id=completion.request_id,
        messages=prompt.messages,
        completion=completion.text,
        completion_token_ids=logprobs.token_ids if logprobs is not None else None,
        split=prompt.split,
        group=prompt.group,
    )


def _why_nothing_is_left(parent: Artifact, dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{reason} {times}" for reason, times in dropped.most_common())
    return (
        f"No completion of {parent.path} is left ({reasons or 'there were none'}). "
        "Loosen the filters, or collect with other sampling."
    )
