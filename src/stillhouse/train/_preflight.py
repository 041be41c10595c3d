"""Checks before the first step, so that a wrong run ends in seconds and not after hours.

Each trap that these catch was met in a published trainer. What is impossible here by construction
needs no check: a mask by token id (it goes by position), a shift anywhere but in
`models.predicting_batch`, a denominator of one part of a batch (`Stepper.learn` divides by all of
it), two copies of a loss, rows looked up by their place (they are looked up by content).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.errors import DataError, PreflightError
from stillhouse.models import LanguageModel, locate_model
from stillhouse.teachers import open_weights
from stillhouse.train._config import TrainConfig
from stillhouse.train._preflight_checks import Check, Subject
from stillhouse.train._preflight_signal import check_signal
from stillhouse.train._preflight_teacher import check_teacher
from stillhouse.train._preflight_text import check_text
from stillhouse.train._rows import TrainingRow, training_rows
from stillhouse.train._student import load_base


@dataclass(frozen=True)
class PreflightReport:
    """What was found, in the order it was checked.

    Attributes:
        checks: One entry per check that applies.
    """

    checks: tuple[Check, ...]

    @property
    def problems(self) -> list[str]:
        """What is wrong, one line each."""
        return [check.problem for check in self.checks if check.problem is not None]

    @property
    def measured(self) -> dict[str, float]:
        """The numbers that checks took, by name."""
        return {check.name: check.value for check in self.checks if check.value is not None}

    def document(self) -> dict[str, Any]:
        """The report for programs."""
        return {"ok": not self.problems, "checks": [check._asdict() for check in self.checks]}

    def require(self) -> None:
        """Refuse what must not be trained on.

        Raises:
            PreflightError: a check found a problem; the message is that of the first.
        """
        if self.problems:
            raise PreflightError(self.problems[0])


def preflight(dataset: Path, *, config: TrainConfig, signal: Path | None = None) -> PreflightReport:
    """Check what `train` would learn, and from whom, without training.

    Args:
        dataset: What curate made.
        config: As for `train`.
        signal: What capture made.

    Returns:
        All checks, those that failed too.

    Raises:
        ConfigError: a folder is of another kind or not there.
        IntegrityError: an artefact is not sound.
        DataError: there is nothing to train on.
    """
    model = load_base(locate_model(config.base.removeprefix("local:")), config)
    text = open_artifact(dataset, kind="dataset")
    captured = open_artifact(signal, kind="signal") if signal is not None else None
    rows = list(training_rows(text, model.chat))
    return run_checks(config, text, captured, model, rows)


def run_checks(
    config: TrainConfig,
    dataset: Artifact,
    signal: Artifact | None,
    base: LanguageModel,
    rows: Sequence[TrainingRow],
) -> PreflightReport:
    """The checks on what is opened and encoded already; none where they are switched off.

    Args:
        config: Settings of the training.
        dataset: The text.
        signal: The teacher's distributions.
        base: What the student is made of, before anything was cut from it.
        rows: All training rows of `dataset`.

    Raises:
        DataError: there are no rows, or the base can read none.
    """
    if not rows:
        raise DataError(f"{dataset.path} holds no training examples: nothing to check.")
    if config.preflight.texts == 0:
        return PreflightReport(())
    subject = Subject(
        dataset=dataset,
        # In the tokens of another tokenizer it is checked where the two are aligned.
        signal=None if config.is_cross else signal,
        student=base,
        rows=rows,
        teacher=_teacher(config, dataset, base),
        limits=config.preflight,
    )
    return PreflightReport(tuple(_checks(subject)))


def _checks(subject: Subject) -> Iterator[Check]:
    # The cheapest first, and what explains most: a wrong tokenizer makes everything else wrong.
    yield from check_text(subject)
    yield from check_signal(subject)
    yield from check_teacher(subject)


def _teacher(config: TrainConfig, dataset: Artifact, base: LanguageModel) -> LanguageModel | None:
    if config.preflight.teacher is not None:
        return open_weights(config.preflight.teacher, dataset=dataset).model
    wrote = dataset.manifest.teacher
    if wrote is None or wrote.revision is None:
        return None
    return base if wrote.revision == base.revision else None
