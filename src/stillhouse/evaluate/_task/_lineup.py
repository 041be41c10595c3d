"""Who takes part: all students, what is always shown beside them, and why something is missing."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from stillhouse.artifacts import Artifact
from stillhouse.errors import ConfigError
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._analysis import TEACHER
from stillhouse.evaluate._task._systems._answers import System
from stillhouse.evaluate._task._systems._baselines import (
    COPY,
    MAJORITY,
    NGRAM,
    copy_system,
    majority_system,
    ngram_system,
)
from stillhouse.evaluate._task._systems._open import Workshop, base_of, is_classifier
from stillhouse.runlog import Listener

UNTUNED = "untuned base"


class Entry(NamedTuple):
    """One that takes part.

    Attributes:
        name: In the report.
        open: Gives the system when its turn comes; None where there is none.
        why_not: What to say then.
    """

    name: str
    open: Callable[[], System | None]
    why_not: str = ""


def lineup(
    held_out: HeldOut,
    dataset: Artifact,
    students: Mapping[str, Artifact],
    config: TaskEvaluateConfig,
    on_progress: Listener,
) -> list[Entry]:
    """All that take part: students in their order, then their bases, then the cheap baselines."""
    workshop = Workshop(held_out.task, dataset, config)
    return [
        *(
            Entry(name, partial(workshop.student, name, artifact))
            for name, artifact in students.items()
        ),
        *_bases(workshop, students),
        *_baselines(held_out, students, config, on_progress),
    ]


def check_names(students: Mapping[str, object], wanted: str | None = None) -> None:
    """Refuse names that the report calls others.

    Args:
        students: By name.
        wanted: The one that the report is to be about.

    Raises:
        ConfigError: a student has one, or none is called `wanted`.
    """
    if wanted is not None and wanted not in students:
        raise ConfigError(
            f"student={wanted!r} is none of the students ({', '.join(students)}). Name one of them."
        )
    for name in students:
        if name in (TEACHER, MAJORITY, COPY, NGRAM) or name.startswith(UNTUNED):
            raise ConfigError(
                f"A student is named {name!r}, which the report calls another system. Rename it."
            )
        if not name.strip():
            raise ConfigError("A student has no name. Give NAME=FOLDER.")


def _bases(workshop: Workshop, students: Mapping[str, Artifact]) -> Iterator[Entry]:
    groups: dict[tuple[bool, str], str] = {}
    for name, artifact in students.items():
        if _has_base(artifact):
            groups.setdefault((is_classifier(artifact), base_of(artifact)), name)
    for name in groups.values():
        shown = UNTUNED if len(groups) == 1 else f"{UNTUNED} of {name}"
        why_not = (
            "it would answer with one label, and a message may have several"
            if is_classifier(students[name])
            else "the student began from random weights"
        )
        yield Entry(shown, partial(workshop.base, shown, students[name]), why_not)
    if not groups:
        yield Entry(UNTUNED, _nobody, "no student began from a model that could answer untrained")


def _baselines(
    held_out: HeldOut,
    students: Mapping[str, Artifact],
    config: TaskEvaluateConfig,
    on_progress: Listener,
) -> Iterator[Entry]:
    task, train = held_out.task, held_out.train
    if task.kind != "classification":
        yield Entry(NGRAM, _nobody, "a linear model on n-grams answers with labels only")
    elif not any(_kind_of(artifact) == "ngram" for artifact in students.values()):
        texts = [row.text for row in train]
        fit = partial(ngram_system, task, texts, train, seed=config.seed, on_progress=on_progress)
        yield Entry(NGRAM, fit)
    if task.kind == "text":
        yield Entry(COPY, partial(copy_system, task))
    yield Entry(MAJORITY, partial(majority_system, task, train))


def _has_base(artifact: Artifact) -> bool:
    return _kind_of(artifact) != "ngram"


def _kind_of(artifact: Artifact) -> str:
    return str(artifact.manifest.config.get("student", "")) if is_classifier(artifact) else ""


def _nobody() -> None:
    return None
