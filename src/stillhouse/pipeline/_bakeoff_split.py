"""Some prompts held out, where nobody has said which."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from stillhouse.artifacts import Artifact, begin_artifact, is_up_to_date, open_artifact
from stillhouse.errors import DataError
from stillhouse.records import Completion, Prompt, Record, Usage, unit_of
from stillhouse.runlog import Listener, Ticker, ignore_progress

_STAGE = "split"
_NAME = "stillhouse.bakeoff held-out"


class SplitConfig(Record):
    """How much is held out."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    held_out_fraction: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Of the groups and lone prompts, on average."""


def has_held_out(prompts: Iterable[Prompt]) -> bool:
    """Whether some prompt is held out already."""
    return any(prompt.split == "held_out" for prompt in prompts)


def with_held_out(prompts: Iterable[Prompt], fraction: float) -> Iterator[Prompt]:
    """The prompts, some of them held out: by the hash of their group, or else of their id.

    What is held out does not depend on the other prompts, so that it stays when some are added.
    """
    for prompt in prompts:
        is_held_out = _place(prompt) < fraction
        yield prompt.model_copy(update={"split": "held_out" if is_held_out else "train"})


def split(
    completions: Artifact,
    out: Path,
    *,
    config: SplitConfig,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """The same completions with some prompts held out.

    Args:
        completions: A completions artefact without held-out prompts.
        out: Folder; one that the same inputs made is returned as it is.
        config: How many.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about the completions copied.

    Raises:
        DataError: one of the two sides is empty.
    """
    resolved = config.model_dump(mode="json")
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=[completions]):
        return open_artifact(out)
    fraction = config.held_out_fraction
    prompts = list(with_held_out(completions.rows("prompts", Prompt), fraction))
    check_both_sides(prompts, where=str(completions.path), fraction=fraction)
    writer = begin_artifact(
        out,
        kind="completions",
        stage=_STAGE,
        config=resolved,
        config_given=config_given,
        parents=[completions],
        replace=replace,
    )
    manifest = completions.manifest
    try:
        writer.write_rows("prompts", prompts, Prompt)
        ticker = Ticker(on_progress, stage=_STAGE, total=manifest.counts.kept, unit="completions")
        writer.write_rows("completions", _counted(completions, ticker), Completion)
        return writer.finish(
            counts=manifest.counts,
            usage=Usage(cost_usd=0.0),  # what was paid stands in the parent
            teacher=manifest.teacher,
            tokenizer_sha256=manifest.tokenizer.sha256 if manifest.tokenizer else None,
            chat_template_sha256=manifest.chat_template_sha256,
            sampling=manifest.sampling,
            seeds=manifest.seeds,
            results={**manifest.results, "held_out": sum(p.split == "held_out" for p in prompts)},
        )
    finally:
        writer.release()


def check_both_sides(prompts: Iterable[Prompt], *, where: str, fraction: float) -> None:
    """Refuse prompts that are all on one side of the split.

    Raises:
        DataError: they are.
    """
    splits = [prompt.split for prompt in prompts]
    if len(set(splits)) < 2:
        raise DataError(
            f"{where}: {len(splits)} prompts do not give two sides with a held-out fraction of "
            f"{fraction:g}. Give more prompts, or mark some with split: held_out."
        )


def _counted(completions: Artifact, ticker: Ticker) -> Iterator[Completion]:
    for completion in completions.rows("completions", Completion):
        ticker.advance()
        yield completion


def _place(prompt: Prompt) -> float:
    unit = unit_of(prompt.id, prompt.group)
    digest = hashlib.sha256(f"{_NAME}:{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
