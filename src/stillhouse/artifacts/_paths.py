"""Names that stay inside a folder, and writes that are whole or absent."""

import hashlib
import os
from pathlib import Path, PurePosixPath

from stillhouse.errors import IntegrityError

_CHUNK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def atomic_write_bytes(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write `data` so that a crash at any moment leaves the old file or the new one.

    Args:
        path: The file.
        data: All that it will hold.
        mode: Its rights from the first moment, less what the umask takes away.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut."""
    if os.name == "nt":  # Windows cannot open folders; NTFS journals the rename itself.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_relative_name(name: str, *, may_leave_folder: bool, where: str) -> PurePosixPath:
    """`name` as a path, or the reason why a manifest may not hold it.

    Raises:
        IntegrityError: `name` is empty, absolute, not in the plain `/` form, or leaves the folder
            when `may_leave_folder` is false.
    """
    path = PurePosixPath(name)
    is_plain = bool(name) and "\\" not in name and str(path) == name
    has_control = any(ord(character) < 32 or ord(character) == 127 for character in name)
    has_drive = len(name) > 1 and name[1] == ":"
    if not is_plain or has_control or has_drive or path.is_absolute():
        raise IntegrityError(
            f"{where} names {name!r}, which is not a plain relative path with '/'. "
            "Stillhouse writes no such name; do not use this folder."
        )
    if not may_leave_folder and (".." in path.parts or not path.parts):
        raise IntegrityError(
            f"{where} names {name!r}, a path that leaves the folder. "
            "Stillhouse writes no such name; do not use this folder."
        )
    return path


def resolve_inside(folder: Path, name: str, *, where: str) -> Path:
    """The file `name` inside `folder`, refusing symbolic links on the way.

    Raises:
        IntegrityError: the name leaves the folder, or a part of it is a symbolic link.
    """
    current = folder
    for part in check_relative_name(name, may_leave_folder=False, where=where).parts:
        current = current / part
        if current.is_symlink():
            raise IntegrityError(
                f"{current} is a symbolic link; files of an artefact must be regular files. "
                "Copy the target into the folder and run the stage again."
            )
    return current
