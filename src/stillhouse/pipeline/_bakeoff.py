"""Students of one task side by side: ask the teacher, make each, judge all, cheapest first."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.errors import ConfigError
from stillhouse.pipeline._bakeoff_config import BakeoffConfig, BakeoffStudent
from stillhouse.pipeline._bakeoff_enough import good_enough
from stillhouse.pipeline._bakeoff_split import (
    SplitConfig,
    check_both_sides,
    has_held_out,
    split,
    with_held_out,
)
from stillhouse.pipeline._run import (
    LEDGER_NAME,
    REPORT_NAME,
    RESULTS_NAME,
)
from stillhouse.pipeline._steps import StageListener, StepByStep, ignore_stages
from stillhouse.records import Prompt
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.tasks import Task, read_task_prompts

_COMPLETIONS, _IMPORTED, _SPLIT = "completions", "imported", "split"
_DATASET, _STUDENTS, _EVALUATION = "dataset", "students", "evaluation"


@dataclass(frozen=True)
class BakeoffOutcome:
    """What a bake-off left.

    Attributes:
        artifacts: By stage name, in the order of the stages.
        skipped: Names of the stages that were complete already.
        stopped: Why students were left out; None where all were made.
        seconds: How long it took this time.
        report_path: The report, an HTML file.
        results_path: What was measured, a JSON file.
    """

    artifacts: dict[str, Artifact]
    skipped: tuple[str, ...]
    stopped: str | None
    seconds: float
    report_path: Path
    results_path: Path


def bakeoff(
    task: Task,
    inputs: Path | None,
    out: Path,
    *,
    config: BakeoffConfig,
    teacher: str | None = None,
    completions: Path | None = None,
    command: str = "stillhouse bakeoff",
    on_progress: Listener = ignore_progress,
    on_stage: StageListener = ignore_stages,
) -> BakeoffOutcome:
    """Make every kind of student of a task, cheapest first, and judge them on held-out prompts.

    Each stage leaves an artefact of its own under `out`; stages whose inputs have not changed are
    skipped, so that a stopped bake-off goes on where it was. Answers stay in `out/ledger.sqlite`:
    nothing is asked or paid twice.

    Args:
        task: What is asked.
        inputs: Rows with the inputs of the task; None where `completions` are given.
        out: Gets `completions`, `dataset`, `students/NAME` and `evaluation`.
        config: The bake-off.
        teacher: Who is asked.
        completions: Answers that were given already: a completions artefact, a ledger or an export
            that `import` reads; instead of `inputs` and `teacher`.
        command: What the report says reproduces it.
        on_progress: Told where a stage stands.
        on_stage: Told about each stage that is complete.

    Raises:
        ConfigError: neither inputs nor completions are given, or both; or a student cannot do the
            task.
        StillhouseError: whatever a stage raises; complete stages stay complete.
    """
    _check(task, inputs, completions, teacher, config)
    started_s = time.monotonic()
    run = _Bakeoff(task, out, config, command, on_progress, on_stage)
    run.answers(inputs, teacher, completions)
    stopped = run.students()
    evaluation = run.judge()
    return BakeoffOutcome(
        artifacts={end.name: end.artifact for end in run.ends},
        skipped=tuple(end.name for end in run.ends if end.is_skipped),
        stopped=stopped,
        seconds=time.monotonic() - started_s,
        report_path=evaluation.path / REPORT_NAME,
        results_path=evaluation.path / RESULTS_NAME,
    )


class _Bakeoff(StepByStep):
    """One bake-off, stage by stage."""

    def __init__(
        self,
        task: Task,
        out: Path,
        config: BakeoffConfig,
        command: str,
        on_progress: Listener,
        on_stage: StageListener,
    ) -> None:
        super().__init__(on_progress, on_stage)
        self._task = task
        self._out = out
        self._config = config
        self._command = command
        self._made: dict[str, Path] = {}

    def answers(self, inputs: Path | None, teacher: str | None, given: Path | None) -> None:
        """The teacher's answers, curated."""
        from stillhouse.curate import curate

        if given is not None:
            completions, is_split_here = self._given(given)
        else:
            assert inputs is not None  # one of the two was checked to be there
            completions, is_split_here = self._asked(inputs, teacher or "local:")
        settings = self._config.curate
        if is_split_here and settings.contamination is None:
            # Nobody chose these rows: near copies on both sides are no mistake of the user's.
            settings = settings.model_copy(update={"contamination": "remove"})
        dataset = self._out / _DATASET
        self.take(
            "curate", dataset, settings, partial(curate, completions, dataset, task=self._task)
        )

    def students(self) -> str | None:
        """Every student, or those up to the first that is good enough; then why it was."""
        lineup = self._config.lineup(self._task.kind)
        for student in lineup:
            self._make(student)
            if self._config.until != "good-enough" or student == lineup[-1]:
                continue
            reason = good_enough(
                open_artifact(self._made[student]), self._dataset(), margin=self._task.margin
            )
            if reason is not None:
                left_out = ", ".join(lineup[lineup.index(student) + 1 :])
                return f"Stopped after {student}: {reason} Not made: {left_out}."
        return None

    def judge(self) -> Artifact:
        """All students on the held-out prompts."""
        from stillhouse.evaluate import evaluate_task

        folder = self._out / _EVALUATION
        stage = partial(
            evaluate_task,
            self._out / _DATASET,
            folder,
            students=self._made,
            title=f"Students of {self._task.name}",
            command=self._command,
        )
        return self.take("evaluate", folder, self._config.evaluate, stage)

    def _asked(self, inputs: Path, teacher: str) -> tuple[Path, bool]:
        from stillhouse.collect import collect

        prompts = list(read_task_prompts(inputs, self._task))
        is_split_here = not has_held_out(prompts)
        if is_split_here:
            fraction = self._config.held_out_fraction
            prompts = list(with_held_out(prompts, fraction))
            check_both_sides(prompts, where=str(inputs), fraction=fraction)
        folder = self._out / _COMPLETIONS
        stage = partial(collect, prompts, folder, teacher=teacher, ledger=self._out / LEDGER_NAME)
        self.take("collect", folder, self._config.collect, stage)
        return folder, is_split_here

    def _given(self, given: Path) -> tuple[Path, bool]:
        if given.is_dir():
            completions = open_artifact(given, kind="completions")
        else:
            from stillhouse.collect import import_completions

            folder = self._out / _IMPORTED
            stage = partial(import_completions, given, folder)
            completions = self.take("import", folder, self._config.import_, stage)
        if has_held_out(completions.rows("prompts", Prompt)):
            return completions.path, False
        folder = self._out / _SPLIT
        settings = SplitConfig(held_out_fraction=self._config.held_out_fraction)
        self.take("split", folder, settings, partial(split, completions, folder))
        return folder, True

    def _make(self, student: BakeoffStudent) -> None:
        folder = self._out / _STUDENTS / student
        dataset = self._out / _DATASET
        self._made[student] = folder
        if student == "lm":
            from stillhouse.train import train

            stage: Callable[..., Artifact] = partial(train, dataset, folder)
            self.take("train lm", folder, self._config.train, stage)
            return
        from stillhouse.fit import fit

        settings = self._config.fit.model_copy(update={"student": student})
        self.take(f"fit {student}", folder, settings, partial(fit, dataset, folder))

    def _dataset(self) -> Artifact:
        return open_artifact(self._out / _DATASET, kind="dataset")


def _check(
    task: Task,
    inputs: Path | None,
    completions: Path | None,
    teacher: str | None,
    config: BakeoffConfig,
) -> None:
    """Refuse before anything is asked or made."""
    if (inputs is None) == (completions is None):
        both = "both are given" if inputs is not None else "neither is given"
        raise ConfigError(
            f"A bake-off starts from INPUTS, for a teacher to answer, or from answers that were "
            f"logged (--from); {both}. Give one of them."
        )
    if completions is not None and teacher is not None:
        raise ConfigError(
            f"The answers in {completions} are given, so nobody is asked. Leave out --teacher."
        )
    unfit = [one for one in config.lineup(task.kind) if one != "lm"]
    if task.kind != "classification" and unfit:
        raise ConfigError(
            f"{', '.join(unfit)} answer with labels, and task {task.name!r} is of kind "
            f"{task.kind!r}. Make lm alone."
        )
