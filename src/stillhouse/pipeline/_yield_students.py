"""Students from growing parts of a dataset, scored on the same held-out prompts.

Letters: N held-out prompts, S seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stillhouse.artifacts import Artifact
from stillhouse.errors import ConfigError, DataError
from stillhouse.evaluate import TaskEvaluateConfig, TaskScorer
from stillhouse.pipeline._yield_config import FEWEST_BUDGETS, YieldConfig
from stillhouse.pipeline._yield_subset import bought, subset
from stillhouse.runlog import Listener
from stillhouse.tasks import TaskAnswer

Floats = npt.NDArray[np.float64]

_LEAST_BUDGET = 50
_MOST_BUDGETS = 7


@dataclass(frozen=True)
class Trial:
    """One student at one budget.

    Attributes:
        calls: That were bought.
        rows: Training rows that these gave.
        agreement_N: Scores against the teacher; NaN where it has no valid answer.
        gold_N: Scores against the right answers; NaN where there is none.
        seconds: To make it, whenever that was.
    """

    calls: int
    rows: int
    agreement_N: Floats
    gold_N: Floats
    seconds: float


class Trials:
    """Makes and scores students; what an earlier run made of the same rows is not made again.

    Args:
        dataset: What curate made with a task.
        out: Gets a folder for each seed and budget.
        config: The curve.
    """

    def __init__(self, dataset: Artifact, out: Path, config: YieldConfig) -> None:
        self._dataset = dataset
        self._out = out
        self._config = config
        judging = TaskEvaluateConfig(max_rows=config.max_held_out, latency_messages=0)
        self._scorer = TaskScorer.of(dataset, judging, needs_messages=config.student == "lm")
        self.held_out = self._scorer.held_out
        task = self.held_out.task
        if config.student != "lm" and task.kind != "classification":
            raise ConfigError(
                f"{config.student} answers with labels, and task {task.name!r} is of kind "
                f"{task.kind!r}. Take --student lm."
            )
        self._train = [row for row in dataset.rows("answers", TaskAnswer) if row.split == "train"]
        self.budgets = self._chosen_budgets()

    def make(self, calls: int, *, seed: int, on_progress: Listener) -> Trial:
        """The student that so many calls give.

        Raises:
            DataError: nothing can be learnt from so few.
        """
        chosen, spent = bought(self._train, calls, seed=seed)
        folder = self._out / f"seed-{seed}" / f"{calls:07d}-calls"
        part = subset(self._dataset, folder / "dataset", prompt_ids=chosen, calls=spent)
        try:
            student = self._stage(part.path, folder / "student", seed)(on_progress=on_progress)
        except DataError as err:
            raise DataError(f"From {calls:,} calls nothing can be learnt: {err}") from err
        scored = self._scorer.score(self._config.student, student)
        return Trial(
            calls=spent,
            rows=len(chosen),
            agreement_N=scored.agreement_N,
            gold_N=scored.gold_N,
            seconds=student.manifest.usage.seconds,
        )

    def _stage(self, dataset: Path, out: Path, seed: int) -> Callable[..., Artifact]:
        if self._config.student == "lm":
            from stillhouse.train import train

            settings = self._config.train.model_copy(update={"seed": seed})
            return partial(train, dataset, out, config=settings, replace=True)
        from stillhouse.fit import fit

        update = {"student": self._config.student, "seed": seed}
        return partial(
            fit, dataset, out, config=self._config.fit.model_copy(update=update), replace=True
        )

    def _chosen_budgets(self) -> tuple[int, ...]:
        """Those of the settings, in order; or all calls, and half of them again and again."""
        if self._config.budgets is not None:
            bought(self._train, max(self._config.budgets), seed=0)  # refuses what was not paid
            return tuple(sorted(set(self._config.budgets)))
        total = sum(row.num_answers for row in self._train)
        halved = [total >> halvings for halvings in range(_MOST_BUDGETS)]
        found = sorted(number for number in halved if number >= _LEAST_BUDGET)
        if len(found) < FEWEST_BUDGETS:
            raise DataError(
                f"The {total:,} training calls of {self._dataset.path} give {len(found)} budgets "
                f"of {_LEAST_BUDGET} calls or more; a curve takes {FEWEST_BUDGETS}. Collect "
                f"{_LEAST_BUDGET << (FEWEST_BUDGETS - 1):,} or more, or give --budgets."
            )
        return tuple(found)
