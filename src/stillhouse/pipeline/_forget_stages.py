"""How a stage is run again from what its manifest says."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stillhouse.artifacts import Artifact
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.runlog import Listener

Rerun = Callable[[Artifact, Sequence[Artifact], Path, Listener], Artifact]


def rerun(
    old: Artifact,
    parents: Sequence[Artifact],
    out: Path,
    *,
    local: str | None,
    on_progress: Listener,
) -> Artifact:
    """Run the stage of `old` with its settings on `parents`, which may be fewer for a join.

    Args:
        old: What is made again.
        parents: What it is made of now.
        out: Where it is written.
        local: Spec of the local teacher, for signals: their manifests do not say where it lies.
        on_progress: Told by the stage.

    Raises:
        ConfigError: its settings are not those of this version.
        IntegrityError: it was not made of such parents.
    """
    stage = old.manifest.stage
    try:
        if stage == "capture" and local is not None:
            return _capture(old, parents, out, on_progress, teacher=local)
        return _STAGES[stage](old, parents, out, on_progress)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{old.path} was made with settings that this version does not know ({place}: "
            f"{first['msg']}). Run `stillhouse {stage}` again by hand."
        ) from err


def _curate(old: Artifact, parents: Sequence[Artifact], out: Path, listen: Listener) -> Artifact:
    from stillhouse.curate import CurateConfig, curate
    from stillhouse.tasks import Task

    settings = dict(old.manifest.config)
    task = settings.pop("task", None)
    (completions,) = _of_kind(old, parents, "completions")
    return curate(
        completions.path,
        out,
        config=CurateConfig.model_validate(settings),
        task=None if task is None else Task.model_validate(task),
        config_given=old.manifest.config_given,
        replace=True,
        on_progress=listen,
    )


def _join(old: Artifact, parents: Sequence[Artifact], out: Path, listen: Listener) -> Artifact:
    from stillhouse.pipeline._round_join import JoinConfig, join

    return join(
        parents,
        out,
        config=JoinConfig.model_validate(old.manifest.config),
        config_given=old.manifest.config_given,
        replace=True,
        on_progress=listen,
    )


def _fit(old: Artifact, parents: Sequence[Artifact], out: Path, listen: Listener) -> Artifact:
    from stillhouse.fit import FitConfig, fit

    (dataset,) = _of_kind(old, parents, "dataset")
    return fit(
        dataset.path,
        out,
        config=FitConfig.model_validate(_without(old, "base_revision")),
        config_given=old.manifest.config_given,
        replace=True,
        on_progress=listen,
    )


def _train(old: Artifact, parents: Sequence[Artifact], out: Path, listen: Listener) -> Artifact:
    from stillhouse.train import TrainConfig, train

    (dataset,) = _of_kind(old, parents, "dataset")
    signals = [parent for parent in parents if parent.manifest.kind == "signal"]
    settings = _without(old, "base_revision", "teacher_revisions")
    return train(
        dataset.path,
        out,
        config=TrainConfig.model_validate(settings),
        signal=signals[0].path if signals else None,
        config_given=old.manifest.config_given,
        replace=True,
        on_progress=listen,
    )


def _capture(
    old: Artifact, parents: Sequence[Artifact], out: Path, listen: Listener, *, teacher: str
) -> Artifact:
    from stillhouse.collect import CaptureConfig, capture

    (dataset,) = _of_kind(old, parents, "dataset")
    recorded = [parent for parent in parents if parent.manifest.kind == "completions"]
    return capture(
        dataset.path,
        out,
        teacher=teacher,
        config=CaptureConfig.model_validate(_without(old, "teacher")),
        completions=recorded[0].path if recorded else None,
        config_given=old.manifest.config_given,
        replace=True,
        on_progress=listen,
    )


def _certify(old: Artifact, parents: Sequence[Artifact], out: Path, listen: Listener) -> Artifact:
    from stillhouse.certify import CertifyConfig, certify

    student, dataset = parents[0], parents[1]
    return certify(
        student.path,
        dataset.path,
        out,
        config=CertifyConfig.model_validate(_without(old, "grades_sha256")),
        config_given=old.manifest.config_given,
        replace=True,
        on_progress=listen,
    )


_STAGES: dict[str, Rerun] = {
    "curate": _curate,
    "join": _join,
    "fit": _fit,
    "train": _train,
    "certify": _certify,
}


def _without(old: Artifact, *names: str) -> dict[str, Any]:
    """The settings of a stage without what it found out and wrote beside them."""
    return {name: value for name, value in old.manifest.config.items() if name not in names}


def _of_kind(old: Artifact, parents: Sequence[Artifact], kind: str) -> list[Artifact]:
    found = [parent for parent in parents if parent.manifest.kind == kind]
    if len(found) != 1:
        raise IntegrityError(
            f"{old.path} was made from {len(found)} artefacts of the kind {kind}, not from one. "
            f"Run `stillhouse {old.manifest.stage}` again by hand."
        )
    return found
