"""The steps of whole runs: one stage each, which is not done again where nothing has changed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from stillhouse.artifacts import Artifact, read_manifest
from stillhouse.errors import IntegrityError
from stillhouse.runlog import Listener, Progress


@dataclass(frozen=True)
class StageEnd:
    """One stage of a run is complete.

    Attributes:
        name: The stage, with the student's name where there are several: "train student".
        artifact: What it left.
        is_skipped: Whether it was complete already, made of the same inputs.
        seconds: How long it took this time.
    """

    name: str
    artifact: Artifact
    is_skipped: bool
    seconds: float


StageListener = Callable[[StageEnd], None]


def ignore_stages(end: StageEnd) -> None:
    """The listener that does nothing."""


@dataclass(frozen=True)
class Step:
    """One stage with all that only this stage needs.

    Attributes:
        name: As in `StageEnd`.
        out: Folder of its artefact.
        settings: Its section of the config.
        stage: The stage function; lacks what every stage takes.
    """

    name: str
    out: Path
    settings: BaseModel
    stage: Callable[..., Artifact]


def take(step: Step, on_progress: Listener) -> StageEnd:
    """Run a stage; each of them returns what is there when that was made of the same inputs."""
    before = _manifest_sha256(step.out)
    started_s = time.monotonic()
    artifact = step.stage(
        config=step.settings,
        config_given=step.settings.model_dump(mode="json", exclude_unset=True),
        replace=True,
        on_progress=named(step.name, on_progress),
    )
    return StageEnd(
        name=step.name,
        artifact=artifact,
        is_skipped=artifact.manifest_sha256 == before,
        seconds=time.monotonic() - started_s,
    )


class StepByStep:
    """A run whose next step depends on what those before it left.

    Args:
        on_progress: Told where a step stands.
        on_stage: Told about each step that is complete.

    Attributes:
        ends: Of the steps taken.
    """

    def __init__(self, on_progress: Listener, on_stage: StageListener) -> None:
        self._on_progress = on_progress
        self._on_stage = on_stage
        self.ends: list[StageEnd] = []

    def take(
        self, name: str, out: Path, settings: BaseModel, stage: Callable[..., Artifact]
    ) -> Artifact:
        """Take one step, whose parts are those of `Step`, and give what it left."""
        end = take(Step(name, out, settings, stage), self._on_progress)
        self.ends.append(end)
        self._on_stage(end)
        return end.artifact


def named(name: str, listener: Listener) -> Listener:
    """`listener` as `name`: students train under one stage name, and a user wants to see which."""

    def listen(progress: Progress) -> None:
        listener(replace(progress, stage=name))

    return listen


def _manifest_sha256(folder: Path) -> str | None:
    """The hash of the artefact in `folder`, None where there is no sound one."""
    try:
        return Artifact(path=folder, manifest=read_manifest(folder)).manifest_sha256
    except IntegrityError:
        return None
