"""Measurements that are made once: read where a file has them, else made and written."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stillhouse.artifacts import atomic_write_bytes
from stillhouse.errors import IntegrityError
from stillhouse.records import Record, canonical_json, content_hash

R = TypeVar("R", bound=Record)


def kept(path: Path, record: type[R], make: Callable[[], R]) -> R:
    """The measurement in a file, which is named after all that it depends on.

    Args:
        path: The file; written whole or not at all.
        record: What it holds.
        make: Measures, where there is no file.

    Raises:
        IntegrityError: the file was changed.
    """
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(path, canonical_json(made) + b"\n")
        return made
    try:
        return record.model_validate_json(path.read_bytes())
    except ValueError as err:
        raise IntegrityError(
            f"{path} is not what range wrote. Remove it, and it is measured again."
        ) from err


def fingerprint(*parts: object) -> str:
    """A short name for what depends on these."""
    return content_hash(list(parts))[:12]
