"""The stage: models answer, a judge compares, and a ranking says what holds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    begin_artifact,
    is_up_to_date,
    open_artifact,
    read_manifest,
)
from stillhouse.errors import ConfigError
from stillhouse.evaluate._arena._answers import Chosen, choose_prompts
from stillhouse.evaluate._arena._asking import Ask
from stillhouse.evaluate._arena._comparisons import ComparisonRow, comparison_row
from stillhouse.evaluate._arena._config import ArenaConfig
from stillhouse.evaluate._arena._findings import findings
from stillhouse.evaluate._arena._gold import Gold, read_gold
from stillhouse.evaluate._arena._hold import Held, Holding, Judge, check_enough
from stillhouse.evaluate._arena._lineage import lineage_nodes
from stillhouse.evaluate._arena._report import render_arena_report
from stillhouse.evaluate._arena._results import ArenaResults
from stillhouse.evaluate._history import History
from stillhouse.graders import read_judge_template
from stillhouse.records import Prompt, Usage, content_hash, prompt_content
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.teachers import TeacherInfo, check_labels, open_teacher

_STAGE = "arena"
_EVALUATION = "evaluation"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def arena(
    prompts: Sequence[Prompt],
    out: Path,
    *,
    models: Mapping[str, str],
    judge: str,
    ask: Ask,
    config: ArenaConfig,
    gold: Path | None = None,
    title: str = "Arena",
    command: str = "",
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Rank models on prompts by what a judge says of their answers.

    Every pair of answers is judged in both orders, and a win counts only where both agree. What
    the ledger of `ask` holds is not asked again, so a stopped arena goes on where it was.

    Args:
        prompts: What the models are asked; those with a reference show it to the judge. Students
            that answer with labels need those of a task.
        out: Gets `answers/NAME`, `judgements`, `labelled` where there is gold, and `evaluation`.
        models: Teacher specs by the names that the report shows; a name becomes a folder.
        judge: Spec of the judge, any teacher.
        ask: Asks a teacher through a ledger; `collect` with its ledger bound.
        config: How it is held.
        gold: Pairs that people compared, to hold the judge against: `prompt` or `messages`, `a`,
            `b` and `winner` in each row.
        title: Heading of the report.
        command: The command line that reproduces the arena, for the report.
        config_given: What the user set, for the manifest.
        replace: Whether a finished arena of other inputs in `out` is removed.
        on_progress: Told who is asked, and how far that is.

    Returns:
        `out/evaluation`, an artefact of the kind `evaluation` with a row for each comparison,
        `results.json` and `report.html`.

    Raises:
        ConfigError: fewer than two models, a name or spec is wrong, two models are the same, one
            answers with labels and the prompts have none or others, or `out` holds another arena.
        DataError: the prompts are of fewer than 10 groups, or there is nothing to judge.
        TooManyFailuresError: too many requests failed, or the judge gives no verdicts.
        TeacherError: a teacher cannot answer any further request, or the budget is spent.
    """
    started_s = monotonic()
    _check_names(models)
    chosen = choose_prompts(prompts, config)
    check_enough(chosen.prompts)
    template_path = Path(config.judge_template) if config.judge_template else None
    bench = Judge(judge, read_judge_template(template_path))
    labels = read_gold(gold) if gold is not None else None
    resolved = _resolved(chosen, models, bench, labels, config, title)
    target = _Target(out / _EVALUATION, resolved, config_given, replace)
    target.check_free()
    held = Holding(out, bench, ask, config, on_progress).hold(chosen, models, labels)
    if target.is_up_to_date(held):
        return open_artifact(target.path)
    writer = target.begin(held)
    try:
        results = findings(held, bench, config, title=title, seconds=monotonic() - started_s)
        return _write(writer, held, results, config=config, command=command)
    finally:
        writer.release()


@dataclass(frozen=True)
class _Target:
    """The artefact that an arena makes."""

    path: Path
    resolved: dict[str, Any]
    given: dict[str, Any] | None
    replace: bool

    def check_free(self) -> None:
        """Refuse before anything is asked what `begin_artifact` would refuse afterwards."""
        if self.replace or not (self.path / "manifest.json").is_file():
            return
        manifest = read_manifest(self.path)
        if (manifest.stage, manifest.config) != (_STAGE, self.resolved):
            raise ConfigError(
                f"{self.path} holds an arena of other prompts, models or settings. Give another "
                "--out, or --force to replace it; answers stay in the ledger."
            )

    def is_up_to_date(self, held: Held) -> bool:
        """Whether it is there, made of the same inputs."""
        parents = [*held.artifacts.values()]
        return is_up_to_date(self.path, stage=_STAGE, config=self.resolved, parents=parents)

    def begin(self, held: Held) -> ArtifactWriter:
        """Its writer. What is there has the same settings, and so was made of older answers."""
        return begin_artifact(
            self.path,
            kind="evaluation",
            stage=_STAGE,
            config=self.resolved,
            config_given=self.given,
            parents=[*held.artifacts.values()],
            replace=True,
        )


def _check_names(models: Mapping[str, str]) -> None:
    if len(models) < 2:
        raise ConfigError(
            f"{len(models)} models cannot be compared. Give at least two: --model NAME=SPEC."
        )
    seen: dict[str, str] = {}
    for name in models:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"A model is named {name!r}. A name is made of letters, digits, '.', '_' and '-', "
                "as it becomes a folder."
            )
        # Some file systems do not tell the two apart.
        if (twin := seen.setdefault(name.casefold(), name)) != name:
            raise ConfigError(f"Models {twin!r} and {name!r} differ in case only. Rename one.")


def _resolved(
    chosen: Chosen,
    models: Mapping[str, str],
    judge: Judge,
    labels: Gold | None,
    config: ArenaConfig,
    title: str,
) -> dict[str, Any]:
    """The settings and the content, never the path, of what goes in."""
    infos = {name: _info(spec) for name, spec in models.items()}
    names: dict[str, str] = {}
    for name, info in infos.items():
        if (twin := names.setdefault(info.id, name)) != name:
            raise ConfigError(
                f"Models {twin!r} and {name!r} are both {info.id!r}. Give each model once."
            )
        for prompt in chosen.prompts:
            check_labels(info, prompt.labels, prompt_id=prompt.id)
    judge_info = _info(judge.spec)
    return {
        **config.model_dump(mode="json", exclude={"judge_template"}),
        "prompts_sha256": content_hash(
            [content_hash(prompt_content(prompt)) for prompt in chosen.prompts]
        ),
        "models": {name: _identity(info) for name, info in infos.items()},
        "judge": {**_identity(judge_info), "template_sha256": judge.template.sha256},
        "gold_sha256": content_hash([content_hash(row) for row in labels.rows]) if labels else None,
        "title": title,
    }


def _info(spec: str) -> TeacherInfo:
    with open_teacher(spec) as teacher:
        return teacher.info


def _identity(info: TeacherInfo) -> dict[str, Any]:
    return {"id": info.id, "revision": info.revision}


def _write(
    writer: ArtifactWriter, held: Held, results: ArenaResults, *, config: ArenaConfig, command: str
) -> Artifact:
    rows = (comparison_row(one, held.chosen.prompts, held.entrants) for one in held.comparisons)
    writer.write_rows("comparisons", rows, ComparisonRow)
    writer.new_file("results.json").write_bytes(results.to_bytes())
    history = History.of([*held.artifacts.values()])
    report = render_arena_report(
        results,
        lineage=lineage_nodes(history, held.artifacts),
        command=command or "stillhouse arena",
        environment=history.environment(),
    )
    writer.new_file("report.html").write_text(report, encoding="utf-8")
    num_unreadable = sum(pair.num_unreadable for pair in results.pairs)
    return writer.finish(
        counts=Counts.model_validate(
            {
                "in": len(held.comparisons),
                "kept": len(held.comparisons) - num_unreadable,
                "dropped": {"unreadable_verdict": num_unreadable} if num_unreadable else {},
            }
        ),
        # What was asked stands in the manifests of the answers.
        usage=Usage(cost_usd=0.0),
        teacher=held.judgements.manifest.teacher,
        sampling=config.judge_sampling,
        seeds={"arena": config.seed},
        results=_in_short(results),
    )


def _in_short(results: ArenaResults) -> dict[str, Any]:
    return {
        "verdict": results.verdict,
        "warnings": [*results.warnings],
        "models": [
            {
                "name": model.name,
                "points": round(model.standing.rating.value, 1),
                "best_rank": model.standing.best_rank,
                "worst_rank": model.standing.worst_rank,
            }
            for model in results.models
        ],
        "judge_is_validated": bool(results.judge.agreements),
    }
