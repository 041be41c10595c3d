"""Collected answers without some of them: read from the artefact, so that nobody is asked."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stillhouse.artifacts import Artifact, Counts, begin_artifact
from stillhouse.provenance import ForgetStep, origin_of
from stillhouse.records import Completion, Prompt

STAGE = "forget"


def filter_completions(
    source: Artifact, out: Path, *, step: ForgetStep, parents: Sequence[Artifact], why: str
) -> Artifact:
    """A completions artefact that is `source` but for the rows that go.

    Its manifest says how `source` came to be, and neither what was taken out nor which artefact
    that was: a hash of either could be held against a guess.

    Args:
        source: What to read.
        out: A folder beside that of `source`, so that the way to its parents is the same.
        step: What goes.
        parents: What it is made of now.
        why: Kept in the manifest.
    """
    stage, before = origin_of(source)
    manifest = source.manifest
    config = {"of": {"stage": stage, "config": before}, "times": _times(source) + 1, "why": why}
    writer = begin_artifact(
        out,
        kind="completions",
        stage=STAGE,
        config=config,
        config_given={},
        parents=parents,
        replace=True,
    )
    try:
        answers = _completions(source, frozenset(step.request_ids))
        kept = writer.write_rows("completions", answers, Completion)
        writer.write_rows("prompts", _prompts(source, frozenset(step.prompt_ids)), Prompt)
        gone = len(step.request_ids)
        return writer.finish(
            counts=Counts.model_validate(
                {"in": kept + gone, "kept": kept, "dropped": {"forgotten": gone} if gone else {}}
            ),
            usage=manifest.usage,
            teacher=manifest.teacher,
            tokenizer_sha256=manifest.tokenizer.sha256 if manifest.tokenizer else None,
            chat_template_sha256=manifest.chat_template_sha256,
            sampling=manifest.sampling,
            seeds=manifest.seeds,
            device=manifest.environment.device,
            results=_results(manifest.results),
        )
    finally:
        writer.release()


def _completions(source: Artifact, taken: frozenset[str]) -> Iterator[Completion]:
    for row in source.rows("completions", Completion):
        if row.request_id not in taken:
            yield row


def _prompts(source: Artifact, taken: frozenset[str]) -> Iterator[Prompt]:
    for prompt in source.rows("prompts", Prompt):
        if prompt.id not in taken:
            yield prompt


def _results(before: dict[str, Any]) -> dict[str, Any]:
    # Calls that were maybe paid are listed there with the ids of their prompts.
    return {name: value for name, value in before.items() if name != "calls_maybe_paid"}


def _times(source: Artifact) -> int:
    times = source.manifest.config.get("times")
    return times if source.manifest.stage == STAGE and isinstance(times, int) else 0
