"""Files of keys and signatures: regular, small, in one layout only."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, AwareDatetime, ValidationError

from stillhouse.errors import ConfigError, RecordError, SignatureError
from stillhouse.records import Record, canonical_json

R = TypeVar("R", bound=Record)


def to_second(moment: datetime) -> datetime:
    """A moment in UTC without the part of a second, as records hold it."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _as_kept(moment: datetime) -> datetime:
    if moment.utcoffset() or moment.microsecond:
        raise ValueError("a time is in UTC and whole seconds")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_as_kept)]
"""A time of a record: one moment has one form."""


def read_regular(path: Path, *, max_bytes: int, is_secret: bool = False) -> bytes:
    """The bytes of a small file that is no link.

    Args:
        path: The file.
        max_bytes: Larger ones are refused before they are read.
        is_secret: Whether nobody but its owner may have rights on it.

    Raises:
        ConfigError: it cannot be read, is a symbolic link or no regular file, is too large, or is
            a secret that others may read.
    """
    if path.is_symlink():
        raise ConfigError(f"{path} is a symbolic link. Give the real file.")
    try:
        # A pipe must not block, and a link that was put there meanwhile must not be followed.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, flags)
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}). Give another file.") from err
    except ValueError as err:  # a NUL, half a character
        raise ConfigError(f"{path} is no name of a file. Give another file.") from err
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise ConfigError(f"{path} is not a regular file. Give the file itself.")
    with os.fdopen(descriptor, "rb") as stream:
        if is_secret and os.name != "nt" and found.st_mode & 0o077:
            raise ConfigError(
                f"{path} is a private key with rights {stat.S_IMODE(found.st_mode):o}: others may "
                f"use it. If nobody did: chmod 600 {path}; else revoke it and make a new one."
            )
        if found.st_size > max_bytes:
            raise ConfigError(
                f"{path} has {found.st_size:,} bytes; at most {max_bytes:,} are read here. Give "
                "the right file."
            )
        return stream.read(max_bytes)


def parse_canonical(record_type: type[R], raw: bytes, *, where: str) -> R:
    """A record from its canonical JSON, and from nothing else.

    Raises:
        SignatureError: it is no such record, or not byte for byte as stillhouse writes it: a key
            twice, spaces, another order.
    """
    try:
        record = record_type.model_validate_json(raw, strict=True)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SignatureError(
            f"{where} is damaged: {place + ': ' if place else ''}{first['msg']}. Restore it."
        ) from err
    if canonical_of(record, where=where) != raw:
        raise SignatureError(
            f"{where} is not byte for byte as stillhouse writes it (a key twice, spaces, another "
            "order). Restore it."
        )
    return record


def parse_json(raw: bytes, *, where: str) -> object:
    """The data of canonical JSON.

    Raises:
        SignatureError: it is no JSON, or in another layout.
    """
    try:
        data: object = orjson.loads(raw)
    except orjson.JSONDecodeError as err:
        raise SignatureError(f"{where} is damaged: no JSON ({err}). Restore it.") from err
    if canonical_of(data, where=where) != raw:
        raise SignatureError(
            f"{where} is not byte for byte as stillhouse writes it (a key twice, spaces, another "
            "order). Restore it."
        )
    return data


def canonical_of(value: object, *, where: str) -> bytes:
    """Canonical JSON of what was read.

    Raises:
        SignatureError: it has none: nested too deeply, an integer over 64 bits.
    """
    try:
        return canonical_json(value)
    except RecordError as err:
        raise SignatureError(f"{where} is damaged: {err}") from err


def check_predicate(record_type: type[R], predicate: dict[str, Any], *, where: str) -> R:
    """A predicate as the record that its type stands for.

    Raises:
        SignatureError: it is another.
    """
    try:
        return record_type.model_validate_json(canonical_of(predicate, where=where), strict=True)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SignatureError(
            f"{where} breaks the schema of its predicate: {place}: {first['msg']}. Sign again "
            "with a stillhouse that knows this predicate."
        ) from err
