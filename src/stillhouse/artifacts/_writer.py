"""Make an artefact: files first, manifest last."""

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TypeVar

from stillhouse.artifacts._attestations import hold_artifact
from stillhouse.artifacts._claim import claim_folder, clear_work, record_names
from stillhouse.artifacts._environment import code_info, environment_info
from stillhouse.artifacts._lock import FolderLock
from stillhouse.artifacts._manifest import (
    ATTESTATIONS_NAME,
    MANIFEST_NAME,
    NAMES_NAME,
    WORK_NAME,
    Counts,
    FileEntry,
    Kind,
    Manifest,
    ParentRef,
    StudentInfo,
    TeacherRef,
    TokenizerInfo,
    WatermarkRef,
)
from stillhouse.artifacts._merkle import MerkleTree
from stillhouse.artifacts._paths import (
    atomic_write_bytes,
    check_relative_name,
    file_sha256,
    sync_folder,
)
from stillhouse.artifacts._reader import Artifact, open_artifact
from stillhouse.artifacts._tables import leaf_bytes, write_table
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.records import Record, Sampling, Usage, content_hash

R = TypeVar("R", bound=Record)

_INPUTS_NAME = "inputs.sha256"
_FILES_NAME = "files"
_CARRIES_MARKS = ("completions", "dataset", "signal", "student", "classifier", "export")
_SHARD_ROWS = 100_000  # not tuned; a shard of short completions is then a few tens of MB


class ArtifactWriter:
    """Collects an artefact's files under `.work/files`; `finish` makes it one.

    Attributes:
        path: The artefact's folder.
        work_dir: State that a resumed stage may find again; gone once finished.
    """

    def __init__(
        self,
        path: Path,
        *,
        kind: Kind,
        stage: str,
        config: dict[str, Any],
        config_given: dict[str, Any],
        parents: Sequence[Artifact],
        lock: FolderLock,
    ) -> None:
        self.path = path
        self.work_dir = path / WORK_NAME
        self._kind: Kind = kind
        self._stage = stage
        self._config = config
        self._config_given = config_given
        self._parents = parents
        self._lock = lock
        self._files: dict[str, int | None] = {}
        self._started_s = time.monotonic()

    def write_rows(self, stem: str, rows: Iterable[R], record_type: type[R]) -> int:
        """Write `rows` into files `{stem}-00000.parquet`, ... and return their number.

        Rows are taken one at a time as they are written, and never all held.
        """
        total = 0
        iterator = iter(rows)
        for shard in count():
            first = list(islice(iterator, 1))
            if not first and shard > 0:
                break
            name = f"{stem}-{shard:05d}.parquet"
            shard_rows = chain(first, islice(iterator, _SHARD_ROWS - 1))
            num_rows = write_table(self.new_file(name), shard_rows, record_type)
            self._files[name] = num_rows
            total += num_rows
        return total

    def new_file(self, name: str) -> Path:
        """Where the caller writes a data file without rows; `finish` moves it into the folder.

        Anything else that is written beside it never becomes part of the artefact.
        """
        check_relative_name(name, may_leave_folder=False, where=f"stage {self._stage}")
        self._files[name] = None
        target = self._staged(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def finish(
        self,
        *,
        counts: Counts,
        usage: Usage | None = None,
        teacher: TeacherRef | None = None,
        student: StudentInfo | None = None,
        tokenizer_sha256: str | None = None,
        chat_template_sha256: str | None = None,
        sampling: Sampling | None = None,
        watermark: WatermarkRef | None = None,
        seeds: dict[str, int] | None = None,
        device: str | None = None,
        results: dict[str, Any] | None = None,
    ) -> Artifact:
        """Hash the files, move them into place, write the manifest and open the artefact.

        `usage.seconds` is replaced by the time since `begin_artifact` unless it is larger (a
        resumed stage adds what it spent before). Without a `watermark` of its own, an artefact
        with texts or weights has that of its parents, where it is one.

        Raises:
            ConfigError: somebody put a file of the same name into the folder meanwhile.
        """
        files, rows_root = self._hash_files()
        usage = usage or Usage()
        elapsed_s = round(time.monotonic() - self._started_s, 3)
        manifest = Manifest(
            schema_version=1,
            kind=self._kind,
            stage=self._stage,
            created_utc=datetime.now(UTC),
            code=code_info(),
            config=self._config,
            config_given=self._config_given,
            parents=_parent_refs(self.path, self._parents),
            files=files,
            rows_root=rows_root,
            counts=counts,
            teacher=teacher,
            student=student,
            tokenizer=TokenizerInfo(sha256=tokenizer_sha256) if tokenizer_sha256 else None,
            chat_template_sha256=chat_template_sha256,
            sampling=sampling,
            watermark=watermark or _inherited(self._kind, self._parents),
            seeds=seeds or {},
            environment=environment_info(device),
            usage=usage.model_copy(update={"seconds": max(usage.seconds, elapsed_s)}),
            results=results or {},
        )
        self._publish(manifest)
        return open_artifact(self.path)

    def release(self) -> None:
        """Let another process work on the folder; `finish` does it too."""
        self._lock.release()

    def _staged(self, name: str) -> Path:
        return self.work_dir / _FILES_NAME / name

    def _hash_files(self) -> tuple[tuple[FileEntry, ...], str | None]:
        tree = MerkleTree()
        files = []
        for name in sorted(self._files):
            staged, rows = self._staged(name), self._files[name]
            _sync_file(staged)
            if rows is not None:
                for leaf in leaf_bytes(staged):
                    tree.append(leaf)
            files.append(
                FileEntry(
                    name=name, sha256=file_sha256(staged), bytes=staged.stat().st_size, rows=rows
                )
            )
        has_rows = any(rows is not None for rows in self._files.values())
        return tuple(files), tree.root() if has_rows else None

    def _publish(self, manifest: Manifest) -> None:
        """Move the files and then the manifest; a kill between any two steps loses nothing.

        Until the manifest is in place, `.work/` stands, so a rerun may begin again; the names
        are recorded before the first move, so it knows which files it may remove.
        """
        names = [entry.name for entry in manifest.files]
        for name in names:
            if os.path.lexists(self.path / name):
                raise ConfigError(
                    f"{self.path / name} appeared while stage {self._stage} was running. Move it "
                    "away and run the same command to resume."
                )
        staged = self.work_dir / MANIFEST_NAME
        atomic_write_bytes(staged, manifest.to_bytes())
        record_names(self.path, names)
        for name in names:
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._staged(name).replace(target)
            sync_folder(target.parent)
        clear_work(self.path, keep=(NAMES_NAME, f"{WORK_NAME}/{MANIFEST_NAME}"))
        staged.replace(self.path / MANIFEST_NAME)
        sync_folder(self.path)
        (self.path / NAMES_NAME).unlink()
        self._lock.remove()
        self.work_dir.rmdir()


def begin_artifact(
    path: Path,
    *,
    kind: Kind,
    stage: str,
    config: dict[str, Any],
    config_given: dict[str, Any] | None = None,
    parents: Sequence[Artifact] = (),
    replace: bool = False,
) -> ArtifactWriter:
    """Claim `path` for a new artefact, or for one that the same inputs left unfinished.

    State under `.work/` survives only when stage, config and parents are those it was made with.

    Args:
        path: Folder to write; made if absent.
        replace: Whether a complete artefact in the way is removed.

    Raises:
        ConfigError: `path` holds a complete artefact and `replace` is false, holds something
            that is not ours, another process works on it, or no manifest can hold the way from
            it to a parent.
    """
    _check_parents(path, parents)
    inputs = _inputs_hash(stage, config, parents)
    lock = claim_folder(path, replace=replace)
    recorded = path / WORK_NAME / _INPUTS_NAME
    if recorded.is_file() and recorded.read_bytes() == inputs.encode():
        shutil.rmtree(path / WORK_NAME / _FILES_NAME, ignore_errors=True)
    else:
        clear_work(path)
        atomic_write_bytes(recorded, inputs.encode())
    return ArtifactWriter(
        path,
        kind=kind,
        stage=stage,
        config=config,
        config_given=config_given or {},
        parents=parents,
        lock=lock,
    )


def adopt(path: Path, parents: Sequence[Artifact]) -> Artifact:
    """Give a complete artefact other parents with the same content; nothing else changes.

    For parents that were made again and came out the same. Signatures of the artefact say nothing
    about it any more, and are removed.

    Args:
        path: The artefact.
        parents: In the order of the manifest's.

    Raises:
        IntegrityError: it is not a sound artefact, or has another number of parents.
        FolderBusyError: another process writes the folder.
    """
    manifest = open_artifact(path).manifest
    if len(parents) != len(manifest.parents):
        raise IntegrityError(
            f"{path} was made from {len(manifest.parents)} artefacts, not {len(parents)}. Run its "
            "stage again."
        )
    changed = manifest.model_copy(update={"parents": _parent_refs(path, parents)})
    with hold_artifact(path):
        (path / ATTESTATIONS_NAME).unlink(missing_ok=True)
        atomic_write_bytes(path / MANIFEST_NAME, changed.to_bytes())
    return open_artifact(path)


def is_up_to_date(
    path: Path, *, stage: str, config: dict[str, Any], parents: Sequence[Artifact] = ()
) -> bool:
    """Whether `path` is a complete artefact of this stage with these settings and parents."""
    if not (path / MANIFEST_NAME).is_file():
        return False
    try:
        manifest = open_artifact(path).manifest
    except IntegrityError:
        return False
    found = content_hash([manifest.stage, manifest.config, [p.sha256 for p in manifest.parents]])
    return found == _inputs_hash(stage, config, parents)


def _inputs_hash(stage: str, config: dict[str, Any], parents: Sequence[Artifact]) -> str:
    return content_hash([stage, config, [parent.manifest_sha256 for parent in parents]])


def _inherited(kind: Kind, parents: Sequence[Artifact]) -> WatermarkRef | None:
    """The one profile that marked what an artefact was made from."""
    marks = {one.manifest.watermark for one in parents if one.manifest.watermark is not None}
    return marks.pop() if kind in _CARRIES_MARKS and len(marks) == 1 else None


def _parent_refs(path: Path, parents: Sequence[Artifact]) -> tuple[ParentRef, ...]:
    here = path.resolve()
    return tuple(
        ParentRef(
            path=Path(os.path.relpath(parent.path.resolve(), here)).as_posix(),
            sha256=parent.manifest_sha256,
        )
        for parent in parents
    )


def _check_parents(path: Path, parents: Sequence[Artifact]) -> None:
    """Refuse now what the reader of the manifest would refuse after the stage has run."""
    for parent in _parent_refs(path, parents):
        try:
            check_relative_name(parent.path, may_leave_folder=True, where="the manifest")
            parent.path.encode()
        except (IntegrityError, UnicodeEncodeError) as err:
            raise ConfigError(
                f"The path from {path} to its input is {parent.path!r}, which a manifest cannot "
                "hold on every system. Rename the folder or give another --out."
            ) from err


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
