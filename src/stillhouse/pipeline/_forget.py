"""Rebuild what was made of rows that go, and reuse everything else."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from stillhouse.artifacts import Artifact, FileEntry, adopt, open_artifact, remove_artifact
from stillhouse.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    NotCertifiedError,
    TrainingError,
)
from stillhouse.pipeline._forget_filter import filter_completions
from stillhouse.pipeline._forget_stages import rerun
from stillhouse.provenance import (
    CAPTURE,
    NEW_SUFFIX,
    RERUN_STAGES,
    ForgetPlan,
    ForgetStep,
    Selection,
    plan_forgetting,
)
from stillhouse.runlog import Listener, Ticker, ignore_progress


@dataclass(frozen=True)
class Forgotten:
    """What came of a plan.

    Attributes:
        done: Folders by what became of them: `filter`, `rerun`, `remove`, or `kept` where the files
            came out the same and only the hashes of parents were written anew.
        left: What still holds rows that go or descends from them, with what to do.
        failed: Folders whose stage can make nothing of what is left, and what it says. They are
            among those that are left.
    """

    done: tuple[tuple[str, str], ...]
    left: tuple[ForgetStep, ...]
    failed: tuple[tuple[str, str], ...] = ()


def forget(
    selection: Selection,
    roots: Sequence[Path],
    *,
    why: str = "",
    local: str | None = None,
    on_progress: Listener = ignore_progress,
) -> Forgotten:
    """Carry out the plan for a selection, step by step.

    Each artefact is made anew beside its folder and then put in its place, so a run that is stopped
    leaves the old one or the new one; the same call goes on. No teacher is asked: answers are
    taken from the artefacts that hold them. A stage that can make nothing of what is left, such as
    a certificate of too few rows, leaves the old artefact, and the others are made all the same.

    Args:
        selection: What goes.
        roots: Folders with all that may be made of it.
        why: Kept in the manifests of what is filtered.
        local: Spec of the teacher with weights on this machine; signals are captured again then.
        on_progress: Told about the artefacts that are done.

    Raises:
        ConfigError: a folder holds what is not part of its artefact, or settings are not known.
        DataError: no artefact holds such a row.
        IntegrityError: an artefact is damaged.
    """
    _recover(roots)
    stages = stages_with(local)
    plan = plan_forgetting(selection, roots, why=why, stages=stages)
    check_found(plan)
    run = _Rebuild(why, local)
    ticker = Ticker(on_progress, stage="forget", total=len(plan.steps), unit="artefacts")
    for step in plan.steps:
        run.take(step, on_progress)
        ticker.advance()
    return Forgotten(
        done=tuple(run.done), left=_left(selection, roots, stages), failed=tuple(run.failed)
    )


def stages_with(local: str | None) -> tuple[str, ...]:
    """The stages that can be run again, where a local teacher is at hand or not."""
    return RERUN_STAGES if local is None else (*RERUN_STAGES, CAPTURE)


def check_found(plan: ForgetPlan) -> None:
    """Refuse a plan without steps: a name that is mistyped must not look like a job that is done.

    Raises:
        DataError: nothing is made of what was named.
    """
    if not plan.steps:
        raise DataError(
            f"No artefact under {', '.join(plan.roots)} is made of {plan.what} {plan.value!r}. "
            "Check the name, or give the folders that hold it."
        )


class _Rebuild:
    """One attempt."""

    def __init__(self, why: str, local: str | None) -> None:
        self._why = why
        self._local = local
        self._before: dict[str, tuple[FileEntry, ...]] = {}  # by folder, what was there
        self._blocked: set[str] = set()
        self.done: list[tuple[str, str]] = []
        self.failed: list[tuple[str, str]] = []

    def take(self, step: ForgetStep, on_progress: Listener) -> None:
        """Do one step, unless it is done by hand or waits for one that is."""
        folder = Path(step.path)
        if step.action == "remove":
            remove_artifact(folder)
            self.done.append((step.path, "remove"))
            return
        if step.is_copy or self._blocked & set(step.parents):
            self._blocked.add(step.path)
            return
        old = open_artifact(folder)
        self._before[step.path] = old.manifest.files
        parents = [open_artifact(Path(parent)) for parent in step.parents]
        if step.action != "filter" and self._are_same(old, parents):
            adopt(folder, parents)
            self.done.append((step.path, "kept"))
            return
        if step.action == "by_hand":
            self._blocked.add(step.path)
            return
        new = folder.with_name(folder.name + NEW_SUFFIX)
        if step.action == "filter":
            filter_completions(old, new, step=step, parents=parents, why=self._why)
        elif not self._made_again(old, parents, new, on_progress):
            self._blocked.add(step.path)
            return
        remove_artifact(folder)
        new.rename(folder)
        self.done.append((step.path, step.action))

    def _made_again(
        self, old: Artifact, parents: Sequence[Artifact], new: Path, on_progress: Listener
    ) -> bool:
        try:
            rerun(old, parents, new, local=self._local, on_progress=on_progress)
        except IntegrityError:
            raise
        except (DataError, NotCertifiedError, TrainingError) as err:
            shutil.rmtree(new, ignore_errors=True)
            self.failed.append((str(old.path), str(err)))
            return False
        return True

    def _are_same(self, old: Artifact, parents: Sequence[Artifact]) -> bool:
        """Whether all parents have the files that they had when `old` was made of them."""
        recorded = [reference.sha256 for reference in old.manifest.parents]
        if len(parents) != len(recorded):
            return False
        return all(
            parent.manifest_sha256 == sha256
            or self._before.get(str(parent.path)) == parent.manifest.files
            for parent, sha256 in zip(parents, recorded, strict=True)
        )


def _recover(roots: Sequence[Path]) -> None:
    """Put what a stopped run had made whole, but not yet moved, into its place."""
    for root in roots:
        for new in sorted(root.rglob(f"*{NEW_SUFFIX}")) if root.is_dir() else ():
            folder = new.with_name(new.name.removesuffix(NEW_SUFFIX))
            if not folder.exists():
                open_artifact(new)  # an old artefact is removed only once the new one is whole
                new.rename(folder)


def _left(
    selection: Selection, roots: Sequence[Path], stages: Collection[str]
) -> tuple[ForgetStep, ...]:
    try:
        return plan_forgetting(selection, roots, stages=stages).steps
    except ConfigError:
        return ()  # no artefact is left at all
