"""Licences that files of models state themselves: a card's front matter, a GGUF's metadata."""

import re
import struct
from pathlib import Path
from typing import BinaryIO

from stillhouse.errors import ConfigError
from stillhouse.settings import parse_yaml

_CARD = "README.md"
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---(?:\r?\n|\Z)", re.DOTALL)
_MAX_CARD_BYTES = 1 << 20
_MAX_STRING_BYTES = 1 << 16
_MAX_KEYS = 10_000
_LICENSE_KEY = b"general.license"
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def license_of_folder(folder: Path) -> str | None:
    """What the card of a model's folder gives as `license`; None where it gives none."""
    try:
        with (folder / _CARD).open("rb") as stream:
            text = stream.read(_MAX_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    found = _FRONT_MATTER.match(text)
    if not found:
        return None
    try:
        data = parse_yaml(found.group(1), where=_CARD)
    except ConfigError:  # a card that is no YAML states nothing
        return None
    name = data.get("license") if isinstance(data, dict) else None
    if isinstance(name, list):
        name = name[0] if len(name) == 1 else None
    return name if isinstance(name, str) and name.strip() else None


def license_of_gguf(path: Path) -> str | None:
    """What a GGUF file gives as `general.license`; None where it gives none, or is none.

    Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    """
    try:
        with path.open("rb") as stream:
            return _license_in(stream)
    except (OSError, struct.error, ValueError):
        return None


def _license_in(stream: BinaryIO) -> str | None:
    magic, version, _, num_keys = struct.unpack("<4sIQQ", stream.read(24))
    if magic != b"GGUF" or version not in (2, 3):
        return None
    for _ in range(min(num_keys, _MAX_KEYS)):
        key = _string(stream)
        (kind,) = struct.unpack("<I", stream.read(4))
        if key == _LICENSE_KEY and kind == _STRING:
            return _string(stream).decode("utf-8", "replace").strip() or None
        _skip(stream, kind)
    return None


def _string(stream: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > _MAX_STRING_BYTES:
        raise ValueError("a string that is none")
    return stream.read(length)


def _skip(stream: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        (length,) = struct.unpack("<Q", stream.read(8))
        stream.seek(length, 1)
    elif kind == _ARRAY:
        inner, count = struct.unpack("<IQ", stream.read(12))
        if inner in _SIZES:
            stream.seek(_SIZES[inner] * count, 1)
            return
        if inner != _STRING:
            raise ValueError("an array of arrays")
        for _ in range(count):
            (length,) = struct.unpack("<Q", stream.read(8))
            stream.seek(length, 1)
    elif kind in _SIZES:
        stream.seek(_SIZES[kind], 1)
    else:
        raise ValueError(f"no type {kind}")
