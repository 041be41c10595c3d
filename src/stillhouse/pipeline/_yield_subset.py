"""A dataset cut down to what so many calls of the teacher would have bought."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from stillhouse.artifacts import Artifact, Counts, begin_artifact, is_up_to_date, open_artifact
from stillhouse.errors import ConfigError
from stillhouse.records import Example, Usage, unit_of
from stillhouse.tasks import TaskAnswer

_STAGE = "subset"


def subset(dataset: Artifact, out: Path, *, prompt_ids: Sequence[str], calls: int) -> Artifact:
    """The training rows of these prompts as a dataset of their own; held-out rows stay behind.

    Args:
        dataset: What curate made with a task.
        out: Folder; one that the same inputs made is returned as it is.
        prompt_ids: Whose rows to keep.
        calls: What they cost, for the manifest.
    """
    kept = frozenset(prompt_ids)
    digest = hashlib.sha256("\n".join(sorted(kept)).encode()).hexdigest()
    config = {"calls": calls, "prompts": len(kept), "prompts_sha256": digest}
    if is_up_to_date(out, stage=_STAGE, config=config, parents=[dataset]):
        return open_artifact(out)
    writer = begin_artifact(
        out, kind="dataset", stage=_STAGE, config=config, parents=[dataset], replace=True
    )
    manifest = dataset.manifest
    try:
        examples = [row for row in dataset.rows("examples", Example) if row.prompt_id in kept]
        num_examples = writer.write_rows("examples", examples, Example)
        answers = [row for row in dataset.rows("answers", TaskAnswer) if row.prompt_id in kept]
        writer.write_rows("answers", answers, TaskAnswer)
        num_before = manifest.counts.kept
        return writer.finish(
            counts=Counts.model_validate(
                {
                    "in": num_before,
                    "kept": num_examples,
                    "dropped": {"beyond_budget": num_before - num_examples},
                }
            ),
            usage=Usage(cost_usd=0.0),
            teacher=manifest.teacher,
            tokenizer_sha256=manifest.tokenizer.sha256 if manifest.tokenizer else None,
            chat_template_sha256=manifest.chat_template_sha256,
            sampling=manifest.sampling,
            seeds=manifest.seeds,
            results=manifest.results,
        )
    finally:
        writer.release()


def bought(rows: Iterable[TaskAnswer], calls: int, *, seed: int) -> tuple[list[str], int]:
    """The prompts that so many calls answer, and the calls that this takes.

    Groups, or prompts without one, are bought whole in the order of their hashes. So a larger
    budget buys all that a smaller one does, and invalid answers cost like valid ones.

    Args:
        rows: Training rows.
        calls: At most so many, one group at least.
        seed: Of the order.

    Raises:
        ConfigError: no row was asked, or all of them take fewer calls.
    """
    costs: dict[str, int] = {}
    prompts: dict[str, list[str]] = {}
    for row in rows:
        unit = unit_of(row.prompt_id, row.group)
        costs[unit] = costs.get(unit, 0) + row.num_answers
        prompts.setdefault(unit, []).append(row.prompt_id)
    total = sum(costs.values())
    if total < calls:
        raise ConfigError(
            f"A budget of {calls:,} calls is more than the {total:,} that the training rows of the "
            "dataset took. Give smaller budgets, or collect more."
        )
    order = sorted(costs, key=lambda unit: hashlib.sha256(f"{seed}:{unit}".encode()).digest())
    chosen: list[str] = []
    spent = 0
    for unit in order:
        if chosen and spent + costs[unit] > calls:
            break
        spent += costs[unit]
        chosen += prompts[unit]
    return chosen, spent
