"""Make an artefact: files first, manifest last."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from stillhouse import __version__
from stillhouse.artifacts._manifest import (
    MANIFEST_NAME,
    WORK_NAME,
    CodeInfo,
    Counts,
    EnvironmentInfo,
    FileEntry,
    Kind,
    Manifest,
    ParentRef,
    StudentInfo,
    TeacherRef,
    TokenizerInfo,
    read_manifest,
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
_SHARD_ROWS = 100_000  # not tuned; a shard of short completions is then a few tens of MB
_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pyarrow", "xllamacpp", "gguf")


class ArtifactWriter:
    """Collects an artefact's files; `finish` makes it one.

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
        lock: IO[bytes],
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
        """Write `rows` into files `{stem}-00000.parquet`, ... and return their number."""
        total = 0
        iterator = iter(rows)
        for shard in range(100_000):
            name = f"{stem}-{shard:05d}.parquet"
            chunk = [row for _, row in zip(range(_SHARD_ROWS), iterator, strict=False)]
            if not chunk and shard > 0:
                break
            self._files[name] = write_table(self.path / name, chunk, record_type)
            total += len(chunk)
        return total

    def new_file(self, name: str) -> Path:
        """The path at which the caller writes a data file without rows."""
        check_relative_name(name, may_leave_folder=False, where="this stage")
        self._files[name] = None
        target = self.path / name
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
        seeds: dict[str, int] | None = None,
        device: str | None = None,
        results: dict[str, Any] | None = None,
    ) -> Artifact:
        """Hash the files, write the manifest and return the finished artefact.

        `usage.seconds` is replaced by the time since `begin_artifact` unless it is larger (a
        resumed stage adds what it spent before).
        """
        names = sorted(self._files)
        tree = MerkleTree()
        files = []
        for name in names:
            data_file = self.path / name
            _sync_file(data_file)
            rows = self._files[name]
            if rows is not None:
                for leaf in leaf_bytes(data_file):
                    tree.append(leaf)
            files.append(
                FileEntry(
                    name=name,
                    sha256=file_sha256(data_file),
                    bytes=data_file.stat().st_size,
                    rows=rows,
                )
            )
        has_rows = any(rows is not None for rows in self._files.values())
        usage = usage or Usage()
        elapsed_s = time.monotonic() - self._started_s
        manifest = Manifest(
            schema_version=1,
            kind=self._kind,
            stage=self._stage,
            created_utc=datetime.now(UTC),
            code=code_info(),
            config=self._config,
            config_given=self._config_given,
            parents=_parent_refs(self.path, self._parents),
            files=tuple(files),
            rows_root=tree.root() if has_rows else None,
            counts=counts,
            teacher=teacher,
            student=student,
            tokenizer=TokenizerInfo(sha256=tokenizer_sha256) if tokenizer_sha256 else None,
            chat_template_sha256=chat_template_sha256,
            sampling=sampling,
            watermark=None,
            seeds=seeds or {},
            environment=environment_info(device),
            usage=usage.model_copy(update={"seconds": max(usage.seconds, round(elapsed_s, 3))}),
            results=results or {},
        )
        self.release()
        shutil.rmtree(self.work_dir, ignore_errors=True)
        sync_folder(self.path)
        atomic_write_bytes(self.path / MANIFEST_NAME, manifest.to_bytes())
        return open_artifact(self.path)

    def release(self) -> None:
        """Let another process work on the folder; `finish` does it too."""
        self._lock.close()


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
            that is not ours, or another process works on it.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ConfigError(f"{path} is a file or a link; the output must be a folder.")
    work_dir = path / WORK_NAME
    if (path / MANIFEST_NAME).exists():
        if not replace:
            raise ConfigError(
                f"{path} holds a finished artefact made with other inputs. "
                "Give another --out, or --force to replace it."
            )
        _remove_artifact(path)
    elif path.is_dir() and any(path.iterdir()) and not work_dir.is_dir():
        raise ConfigError(
            f"{path} is not empty and not an artefact; nothing was written. Give another --out."
        )
    work_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock_folder(path, work_dir)
    inputs = _inputs_hash(stage, config, parents)
    recorded = work_dir / _INPUTS_NAME
    is_same = recorded.is_file() and recorded.read_text() == inputs
    for entry in path.iterdir():
        if entry.name != WORK_NAME:
            _remove(entry)
    if not is_same:
        for entry in work_dir.iterdir():
            if entry.name != "lock":
                _remove(entry)
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


def code_info() -> CodeInfo:
    """Version, and commit where the running code is a git checkout."""
    source = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(source), *arguments],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An environment inside somebody else's repository must not report that repository's commit.
    if git("ls-files", "--error-unmatch", str(source / "errors.py")) is None:
        return CodeInfo(version=__version__, commit=None, dirty=None)
    status = git("status", "--porcelain", "--", str(source))
    return CodeInfo(
        version=__version__,
        commit=git("rev-parse", "HEAD"),
        dirty=bool(status) if status is not None else None,
    )


def environment_info(device: str | None) -> EnvironmentInfo:
    """Python, platform and the versions that change results."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return EnvironmentInfo(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        torch=packages.pop("torch", None),
        device=device,
        packages=packages,
    )


def _inputs_hash(stage: str, config: dict[str, Any], parents: Sequence[Artifact]) -> str:
    return content_hash([stage, config, [parent.manifest_sha256 for parent in parents]])


def _parent_refs(path: Path, parents: Sequence[Artifact]) -> tuple[ParentRef, ...]:
    here = path.resolve()
    return tuple(
        ParentRef(
            path=Path(os.path.relpath(parent.path.resolve(), here)).as_posix(),
            sha256=parent.manifest_sha256,
        )
        for parent in parents
    )


def _lock_folder(path: Path, work_dir: Path) -> IO[bytes]:
    lock = (work_dir / "lock").open("ab")
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            lock.close()
            raise ConfigError(
                f"Another stillhouse process is writing {path}. Wait for it, or give another --out."
            ) from err
    return lock


def _remove_artifact(path: Path) -> None:
    manifest = read_manifest(path)
    listed = {path / entry.name for entry in manifest.files} | {path / MANIFEST_NAME}
    strays = [entry for entry in path.rglob("*") if not entry.is_dir() and entry not in listed]
    if strays:
        raise ConfigError(
            f"{path} also holds {strays[0].name}, which is not part of the artefact and would be "
            "lost. Move it away, or give another --out."
        )
    (path / WORK_NAME).mkdir(exist_ok=True)
    (path / MANIFEST_NAME).unlink()
    for entry in manifest.files:
        (path / entry.name).unlink(missing_ok=True)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
