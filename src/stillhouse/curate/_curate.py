"""Completions to examples: what is dropped is counted by reason, and each filter can be off."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.curate._answers import TaskAnswers
from stillhouse.curate._config import CurateConfig
from stillhouse.curate._split import check_split
from stillhouse.errors import DataError, IntegrityError
from stillhouse.records import Completion, Example, Prompt, Usage, content_hash
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.statistics import is_looping
from stillhouse.tasks import Task, TaskAnswer

_STAGE = "curate"
_ID_HEX_DIGITS = 16


def curate(
    completions: Path,
    out: Path,
    *,
    config: CurateConfig,
    task: Task | None = None,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Make the dataset that a student is trained on, and measured on, from completions.

    Args:
        completions: A completions artefact.
        out: Folder of the dataset; one that the same inputs made is returned as it is.
        config: What to drop.
        task: What was asked. Then examples hold valid answers in their canonical form, and
            `answers` has a row for each prompt with all that was answered to it.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about the completions read.

    Returns:
        An artefact of the kind `dataset`; teacher, sampling and fingerprints are the parent's. Its
        results hold the task, what became of its answers, and what the two sides of the split
        share.

    Raises:
        DataError: nothing is left, held-out texts are in the training data, or the answers are
            none to the task.
        IntegrityError: the completions artefact is not sound.
        ConfigError: a path is wrong, or `completions` is another kind of artefact.
    """
    parent = open_artifact(completions, kind="completions")
    if task is not None and config.contamination is None:
        config = config.model_copy(update={"contamination": "refuse"})
    resolved = _resolved(config, task)
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
        ticker = Ticker(
            on_progress, stage=_STAGE, total=parent.manifest.counts.kept, unit="completions"
        )
        return _Curation(parent, config, task).finish(writer, ticker)
    finally:
        writer.release()


def _resolved(config: CurateConfig, task: Task | None) -> dict[str, Any]:
    """The settings that count: what plain datasets do without is not in their manifests."""
    resolved = config.model_dump(mode="json")
    if config.contamination is None:
        del resolved["contamination"]
    if task is not None:
        resolved["task"] = _plain(task)
    return resolved


def _plain(task: Task) -> dict[str, Any]:
    return task.model_dump(mode="json", by_alias=True)


class _Curation:
    """One attempt at a dataset."""

    def __init__(self, parent: Artifact, config: CurateConfig, task: Task | None) -> None:
        self._parent = parent
        self._config = config
        self._task = task
        self._prompts = {prompt.id: prompt for prompt in parent.rows("prompts", Prompt)}
        self._results: dict[str, Any] = {}
        self._removed: frozenset[str] = frozenset()
        if config.contamination is not None:
            split = check_split(self._prompts.values(), config.contamination, task)
            self._removed = split.removed
            self._results["contamination"] = split.results
        self._answers: TaskAnswers | None = None
        if task is not None:
            kept = {
                id_: prompt for id_, prompt in self._prompts.items() if id_ not in split.removed
            }
            self._answers = TaskAnswers(task, kept, allow_truncated=not config.drop_truncated)
        self._dropped: Counter[str] = Counter()
        self._seen: set[str] = set()

    def finish(self, writer: ArtifactWriter, ticker: Ticker) -> Artifact:
        """Write examples and, of a task, answers, and the manifest."""
        num_kept = writer.write_rows("examples", self._examples(ticker), Example)
        if self._answers is not None:
            self._answers.check()
        if num_kept == 0:
            raise DataError(self._why_nothing_is_left())
        if self._answers is not None and self._task is not None:
            writer.write_rows("answers", self._answers.rows(), TaskAnswer)
            self._results["task"] = _plain(self._task)
            self._results["answers"] = self._answers.results()
        manifest = self._parent.manifest
        counts = {
            "in": num_kept + self._dropped.total(),
            "kept": num_kept,
            "dropped": dict(sorted(self._dropped.items())),
        }
        return writer.finish(
            counts=Counts.model_validate(counts),
            usage=Usage(cost_usd=0.0),
            teacher=manifest.teacher,
            tokenizer_sha256=manifest.tokenizer.sha256 if manifest.tokenizer else None,
            chat_template_sha256=manifest.chat_template_sha256,
            sampling=manifest.sampling,
            seeds=manifest.seeds,
            results=self._results,
        )

    def _examples(self, ticker: Ticker) -> Iterator[Example]:
        for completion in self._parent.rows("completions", Completion):
            prompt = self._prompts.get(completion.prompt_id)
            if prompt is None:
                raise IntegrityError(
                    f"{self._parent.path} holds a completion for prompt "
                    f"{completion.prompt_id!r}, which is not among its prompts. Collect it again."
                )
            ticker.advance()
            reason, text = self._judged(completion, prompt)
            if reason is None and self._config.deduplicate and self._is_repeated(prompt, text):
                reason = "duplicate"
            if reason is None:
                yield _example(completion, prompt, text)
            else:
                self._dropped[reason] += 1

    def _judged(self, completion: Completion, prompt: Prompt) -> tuple[str | None, str]:
        """Why a completion is dropped, None where it is kept, and the text to learn from it."""
        if prompt.id in self._removed:
            return "contaminated", ""
        answer = self._answers.add(completion) if self._answers is not None else None
        is_checked = self._task is not None and self._task.kind != "text"
        reason = _reason_to_drop(completion, prompt, self._config, is_checked=is_checked)
        if answer is None:
            return reason, completion.text
        if answer.text is None:
            return reason or "invalid_answer", ""
        return reason, answer.text

    def _is_repeated(self, prompt: Prompt, text: str) -> bool:
        key = content_hash([prompt.model_dump(mode="json")["messages"], text])
        is_repeated = key in self._seen
        self._seen.add(key)
        return is_repeated

    def _why_nothing_is_left(self) -> str:
        reasons = ", ".join(f"{reason} {times}" for reason, times in self._dropped.most_common())
        return (
            f"No completion of {self._parent.path} is left ({reasons or 'there were none'}). "
            "Loosen the filters, or collect with other sampling."
        )


def _reason_to_drop(
    completion: Completion, prompt: Prompt, config: CurateConfig, *, is_checked: bool
) -> str | None:
    """Why a completion is no example; `is_checked` where its form was, so that it may loop."""
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
    if config.drop_looping and not is_checked and is_looping(text):
        return "looping"
    if len(text) < config.min_chars:
        return "too_short"
    if config.max_chars is not None and len(text) > config.max_chars:
        return "too_long"
    return None


def _example(completion: Completion, prompt: Prompt, text: str) -> Example:
    logprobs = completion.logprobs
    # The teacher's tokens spell out what it said, which a canonical answer may put otherwise.
    has_tokens = logprobs is not None and text == completion.text
    return Example(
        id=completion.request_id[:_ID_HEX_DIGITS],
        prompt_id=prompt.id,
        request_id=completion.request_id,
        messages=prompt.messages,
        completion=text,
        completion_token_ids=logprobs.token_ids if logprobs is not None and has_tokens else None,
        split=prompt.split,
        group=prompt.group,
    )
