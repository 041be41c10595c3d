"""Claim a folder for one writer, and clear from it only what stillhouse itself put there.

`.work/names` lists the data files that a stage moves into the folder before it has a manifest.
Whatever is neither listed there nor in a manifest belongs to somebody else and is never removed.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from stillhouse.artifacts._lock import FolderLock
from stillhouse.artifacts._manifest import (
    ATTESTATIONS_NAME,
    LOCK_NAME,
    MANIFEST_NAME,
    NAMES_NAME,
    WORK_NAME,
    read_manifest,
)
from stillhouse.artifacts._paths import atomic_write_bytes, resolve_inside
from stillhouse.errors import ConfigError, IntegrityError


def claim_folder(path: Path, *, replace: bool) -> FolderLock:
    """Make `path` an empty folder with `.work/`, locked for this process.

    State under `.work/` is kept; files of an unfinished or (with `replace`) finished artefact
    are removed.

    Raises:
        ConfigError: `path` holds a complete artefact and `replace` is false, holds something
            that is not ours, or another process works on it.
    """
    work_dir = path / WORK_NAME
    _check_target(path, replace=replace)
    is_new = not work_dir.exists()
    work_dir.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(path / LOCK_NAME, owner=path)
    try:
        # Again under the lock: another process may have finished the artefact meanwhile.
        _check_target(path, replace=replace)
        if (path / MANIFEST_NAME).exists():
            _retire(path)
        names = read_names(path)
        _refuse_strays(path, names)
        _remove_files(path, names)
    except BaseException:
        if is_new:
            lock.remove()
            work_dir.rmdir()
        else:
            lock.release()
        raise
    return lock


def remove_artifact(path: Path) -> None:
    """Take a complete artefact away, with its folder where nothing else is in it.

    Raises:
        ConfigError: the folder also holds what is not part of the artefact, the manifest is
            damaged, or another process works on it.
    """
    lock = claim_folder(path, replace=True)
    clear_work(path)
    lock.remove()
    (path / WORK_NAME).rmdir()
    path.rmdir()


def record_names(path: Path, names: Iterable[str]) -> None:
    """Say, before they are moved into `path`, which files are ours."""
    atomic_write_bytes(path / NAMES_NAME, "".join(f"{name}\n" for name in names).encode())


def read_names(path: Path) -> list[str]:
    """The names that `record_names` wrote; none where it did not."""
    try:
        return (path / NAMES_NAME).read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []


def clear_work(path: Path, *, keep: Iterable[str] = ()) -> None:
    """Empty `.work/` of `path` except the lock and `keep` (names relative to `path`)."""
    kept = {path / LOCK_NAME, *(path / name for name in keep)}
    for entry in (path / WORK_NAME).iterdir():
        if entry in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _check_target(path: Path, *, replace: bool) -> None:
    work_dir = path / WORK_NAME
    if path.is_symlink() or work_dir.is_symlink() or (path.exists() and not path.is_dir()):
        raise ConfigError(f"{path} is a file or a link; the output must be a folder.")
    if (path / MANIFEST_NAME).exists():
        if not replace:
            raise ConfigError(
                f"{path} holds a finished artefact that is damaged or made with other inputs. "
                "Give another --out, or --force to replace it."
            )
    elif path.is_dir() and not work_dir.is_dir() and any(path.iterdir()):
        raise ConfigError(
            f"{path} is not empty and not an artefact; nothing was written. Give another --out."
        )


def _retire(path: Path) -> None:
    """Turn a complete artefact into an unfinished one whose files are known."""
    try:
        manifest = read_manifest(path)
    except IntegrityError as err:
        raise ConfigError(
            f"{path} cannot be replaced: its manifest is damaged, so nobody can say which files "
            "are part of it. Remove the folder yourself, or give another --out."
        ) from err
    # Signatures of what is replaced say nothing of what comes.
    names = [*(entry.name for entry in manifest.files), ATTESTATIONS_NAME]
    _refuse_strays(path, [*names, MANIFEST_NAME])
    record_names(path, names)
    (path / MANIFEST_NAME).unlink()


def _refuse_strays(path: Path, names: Iterable[str]) -> None:
    ours = {path / name for name in names}
    for entry in sorted(path.rglob("*")):
        is_work = entry.relative_to(path).parts[0] == WORK_NAME
        if not is_work and entry not in ours and (entry.is_symlink() or not entry.is_dir()):
            raise ConfigError(
                f"{path} also holds {entry.relative_to(path)}, which is not part of the artefact "
                "and would be lost. Move it away, or give another --out."
            )


def _remove_files(path: Path, names: Iterable[str]) -> None:
    for name in names:
        target = resolve_inside(path, name, where=str(path / NAMES_NAME))
        target.unlink(missing_ok=True)
        for folder in list(target.relative_to(path).parents)[:-1]:
            if (path / folder).is_dir() and not any((path / folder).iterdir()):
                (path / folder).rmdir()
    (path / NAMES_NAME).unlink(missing_ok=True)
