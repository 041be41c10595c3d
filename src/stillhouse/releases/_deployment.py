"""A deployment's folder: versions, a pointer, a history.

    DEPLOYMENT/
        current.json            the last move of the pointer, replaced at once
        history.jsonl           all changes, only ever added to
        versions/SHA256/served/   what was added
        versions/SHA256/student/  of a cascade: its student

The pointer is written before the history, and holds its line: what a killed process did not add to
the history the next one adds. A version is named by the hash of its manifest, which has the hashes
of all of its files, and of its student's manifest where it is a cascade.
"""

import getpass
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from stillhouse.artifacts import Artifact, FolderLock, check_files, open_artifact
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.records import canonical_json
from stillhouse.releases._change import Action, Change, Standing, standing_of
from stillhouse.releases._copying import copy_artifact, sync_folder, write_whole

_POINTER, _HISTORY, _VERSIONS, _LOCK = "current.json", "history.jsonl", "versions", ".lock"
_SERVED, _STUDENT = "served", "student"
_SHORTEST = 6  # characters of a version's name that a person may type
_KINDS = ("cascade", "classifier", "student")


@dataclass(frozen=True, slots=True)
class Version:
    """One version, whose files are what they were when it was added.

    Attributes:
        id: SHA-256 of its manifest.
        kind: `cascade`, `classifier` or `student`.
        folder: Its copy.
        student: Of a cascade: the copy of its student.
    """

    id: str
    kind: str
    folder: Path
    student: Path | None = None


def is_deployment(folder: Path) -> bool:
    """Whether a folder is one."""
    return (folder / _VERSIONS).is_dir() and (folder / _HISTORY).is_file()


class Deployment:
    """A deployment's folder; several processes may use one.

    Args:
        folder: Made by the first `add`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, source: Path, *, why: str = "", who: str | None = None) -> Version:
        """Copy a student or cascade into the deployment; one that is there already is left alone.

        Raises:
            ConfigError: it is neither.
            IntegrityError: its files are damaged, or its student is another one.
            FolderBusyError: another process is changing the deployment.
        """
        artifact, student = _sources(source)
        version = artifact.manifest_sha256
        (self.folder / _VERSIONS).mkdir(parents=True, exist_ok=True)
        with self._changing():
            place = self.folder / _VERSIONS / version
            if not place.is_dir():
                self._copy(artifact, student, place)
            if ("add", version) not in [(one.action, one.version) for one in self._history()[0]]:
                self._catch_up()
                self._append(self._change("add", version, None, why=why, who=who))
        return self.version(version)

    def promote(self, name: str, *, why: str = "", who: str | None = None) -> Change:
        """Put a version into service.

        Args:
            name: Of the version, or its first characters.

        Raises:
            ConfigError: there is none of that name, or more than one.
            IntegrityError: it is damaged.
            FolderBusyError: as in `add`.
        """
        with self._changing():
            version = self.version(self._id_of(name))
            return self._move("promote", version.id, why=why, who=who)

    def rollback(self, *, why: str = "", who: str | None = None) -> Change:
        """Put the version into service that was promoted before the one that is.

        Raises:
            ConfigError: there was none before.
            IntegrityError: it is damaged.
            FolderBusyError: as in `add`.
        """
        with self._changing():
            stack = self.standing().stack
            if len(stack) < 2:
                raise ConfigError(
                    f"{self.folder} has no earlier version in service to go back to. Promote one."
                )
            version = self.version(stack[-2])
            return self._move("rollback", version.id, why=why, who=who)

    def current(self) -> Version:
        """The version in service.

        Raises:
            ConfigError: none was promoted yet, or this is no deployment.
            IntegrityError: the pointer or the version is damaged.
        """
        pointer = self._pointer()
        if pointer is None:
            raise ConfigError(
                f"{self.folder} has no version in service. Run stillhouse release promote "
                f"{self.folder} VERSION."
            )
        return self.version(pointer.version)

    def current_id(self) -> str | None:
        """The name of the version in service, whose files are not read; None before the first.

        Raises:
            IntegrityError: the pointer is damaged.
        """
        pointer = self._pointer()
        return None if pointer is None else pointer.version

    def version(self, version: str) -> Version:
        """A version whose files were all read and compared with their hashes.

        Raises:
            ConfigError: it is not there.
            IntegrityError: it is damaged.
        """
        place = self.folder / _VERSIONS / version
        if not place.is_dir():
            raise ConfigError(f"{self.folder} has no version {version[:12]}. Add it first.")
        artifact = open_artifact(place / _SERVED)
        if artifact.manifest_sha256 != version:
            raise IntegrityError(
                f"{place / _SERVED} is not version {version[:12]}: its manifest has another hash. "
                "Remove the version's folder and add it again."
            )
        check_files(artifact)
        student = None
        if artifact.manifest.kind == "cascade":
            student = place / _STUDENT
            _check_student(artifact, student)
        return Version(version, artifact.manifest.kind, artifact.path, student)

    def versions(self) -> list[str]:
        """All versions in the order of their names, whether damaged or not."""
        place = self.folder / _VERSIONS
        if not place.is_dir():
            raise ConfigError(
                f"{self.folder} is no deployment. Make one with stillhouse release add."
            )
        return sorted(one.name for one in place.iterdir() if not one.name.startswith("."))

    def standing(self) -> Standing:
        """Where it stands, by its history and its pointer.

        Raises:
            IntegrityError: the pointer is damaged.
        """
        history, num_torn = self._history()
        pointer = self._pointer()
        if pointer is not None and pointer not in history:
            history.append(pointer)
        return standing_of(history, num_torn=num_torn)

    def _id_of(self, name: str) -> str:
        found = [one for one in self.versions() if one.startswith(name)]
        if len(name) < _SHORTEST or len(found) != 1:
            known = ", ".join(one[:12] for one in self.versions()[:10]) or "none"
            raise ConfigError(
                f"{name!r} names {len(found)} versions of {self.folder}, which has {known}. Give "
                f"at least {_SHORTEST} characters of one."
            )
        return found[0]

    def _copy(self, artifact: Artifact, student: Artifact | None, place: Path) -> None:
        work = place.with_name(f".{place.name[:12]}.{os.getpid()}")
        shutil.rmtree(work, ignore_errors=True)
        try:
            copy_artifact(artifact, work / _SERVED)
            check_files(open_artifact(work / _SERVED))
            if student is not None:
                copy_artifact(student, work / _STUDENT)
                check_files(open_artifact(work / _STUDENT))
            sync_folder(work)
            work.rename(place)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        sync_folder(place.parent)

    def _move(self, action: Action, version: str, *, why: str, who: str | None) -> Change:
        self._catch_up()
        change = self._change(action, version, self.current_id(), why=why, who=who)
        write_whole(self.folder / _POINTER, canonical_json(change))
        self._append(change)
        return change

    def _change(
        self, action: Action, version: str, previous: str | None, *, why: str, who: str | None
    ) -> Change:
        history, _ = self._history()
        return Change(
            number=max((one.number for one in history), default=0) + 1,
            utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
            action=action,
            version=version,
            previous=previous,
            who=who or _user(),
            why=why,
        )

    def _catch_up(self) -> None:
        """Add to the history what moved the pointer and was killed before it could."""
        pointer = self._pointer()
        if pointer is not None and pointer not in self._history()[0]:
            self._append(pointer)

    def _append(self, change: Change) -> None:
        path = self.folder / _HISTORY
        with open(path, "ab+") as file:
            # A line that was cut stays, by itself.
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(canonical_json(change) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _history(self) -> tuple[list[Change], int]:
        path = self.folder / _HISTORY
        if not path.is_file():
            return [], 0
        changes, num_torn = [], 0
        for line in path.read_bytes().split(b"\n"):
            if not line:
                continue
            try:
                changes.append(Change.model_validate_json(line))
            except ValidationError:
                num_torn += 1
        return changes, num_torn

    def _pointer(self) -> Change | None:
        path = self.folder / _POINTER
        try:
            return Change.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as err:
            raise IntegrityError(
                f"{path} is no pointer to a version. Remove it and promote a version."
            ) from err

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone, and with what a killed process left cleared away."""
        self.versions()  # refuses what is no deployment, before a lock is left in it
        versions = self.folder / _VERSIONS
        lock = FolderLock(self.folder / _LOCK, owner=self.folder)
        try:
            for left in (*versions.glob(".*"), *self.folder.glob(f".{_POINTER}.*")):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield
        finally:
            lock.release()


def _sources(source: Path) -> tuple[Artifact, Artifact | None]:
    """An artefact that can be served, and the student of a cascade."""
    artifact = open_artifact(source)
    if artifact.manifest.kind not in _KINDS:
        raise ConfigError(
            f"{source} holds a {artifact.manifest.kind}, not a student. Give the folder that "
            "train, fit or certify wrote."
        )
    if artifact.manifest.kind != "cascade":
        return artifact, None
    student = (artifact.path / artifact.manifest.parents[0].path).resolve()
    return artifact, _check_student(artifact, student)


def _check_student(cascade: Artifact, folder: Path) -> Artifact:
    student = open_artifact(folder)
    if student.manifest_sha256 != cascade.manifest.parents[0].sha256:
        raise IntegrityError(
            f"{folder} is not the student that {cascade.path} was certified for. Certify it again."
        )
    check_files(student)
    return student


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry for this user
        return f"uid {os.getuid()}"
