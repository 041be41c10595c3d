"""How request ids and bodies are put into rows."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from stillhouse.errors import IntegrityError, RecordError
from stillhouse.records import Request
from stillhouse.runlog._ledger._database import Database

_COMPRESS_FROM_BYTES = 512  # below, a frame saves next to nothing
_SEGMENT_BYTES = 256 * 1024  # one body is read by unpacking its segment: keep that short

Key = bytes | str
"""A request id as it is stored."""

Place = tuple[int, int, int]
"""Where a body is: segment, offset, length."""


def key_of(request_id: str) -> Key:
    """A request id as it is stored: the 32 bytes of a SHA-256, or any other name as it is."""
    if len(request_id) == 64:
        try:
            key = bytes.fromhex(request_id)
        except ValueError:
            return request_id
        return key if key.hex() == request_id else request_id
    return request_id


def id_of(key: Key) -> str:
    """The request id that is stored as `key`."""
    return key.hex() if isinstance(key, bytes) else key


def request_json(request: Request) -> bytes:
    """The JSON of a request.

    Raises:
        RecordError: it holds a lone surrogate.
    """
    try:
        # Not canonical_json, which takes six times as long: the id is the hash, not this.
        return request.__pydantic_serializer__.to_json(request)
    except PydanticSerializationError as err:
        raise RecordError(
            f"Prompt {request.prompt_id!r} cannot be encoded as UTF-8 JSON ({err}). "
            "Remove lone surrogates from it."
        ) from err


def load_requests(db: Database, places: Sequence[Place]) -> list[Request]:
    """The requests at `places`, in their order.

    Raises:
        IntegrityError: one is damaged.
    """
    try:
        return [Request.model_validate_json(data) for data in load(db, places)]
    except ValidationError as err:
        raise damaged(db, "a request") from err


def storable(text: str) -> str:
    """`text` with lone surrogates written out: endpoints may say anything in an error."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


Packed = list[tuple[list[int], bytes, int | None]]
"""Segments to store: the lengths of the bodies in each, its data, and its size before packing,
which is None where data is stored as it came."""


def pack(bodies: Iterable[bytes]) -> Packed:
    """`bodies` in segments."""
    return [([len(body) for body in group], *_pack(b"".join(group))) for group in _groups(bodies)]


def store(db: Database, segments: Packed) -> list[Place]:
    """Append packed segments, in a transaction of the caller; the place of each body."""
    number = db.next_number("segments")
    places: list[Place] = []
    rows = []
    for lengths, data, raw_bytes in segments:
        rows.append((number, raw_bytes, data))
        offset = 0
        for length in lengths:
            places.append((number, offset, length))
            offset += length
        number += 1
    db.many("INSERT INTO segments VALUES (?, ?, ?)", rows)
    return places


def load(db: Database, places: Sequence[Place]) -> list[bytes]:
    """The bodies at `places`, in their order.

    Raises:
        IntegrityError: a segment is missing or damaged.
    """
    bodies = [b""] * len(places)
    number, data = 0, b""
    for index in sorted(range(len(places)), key=places.__getitem__):  # each segment read once
        segment, offset, length = places[index]
        if segment != number:
            number, data = segment, read_segment(db, segment)
        bodies[index] = data[offset : offset + length]
    return bodies


def read_segment(db: Database, number: int) -> bytes:
    """The bodies of a segment, one after the other.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    found = db.rows("SELECT raw_bytes, data FROM segments WHERE number = ?", (number,))
    if not found:
        raise damaged(db, f"segment {number}, which is missing,")
    raw_bytes, data = found[0]
    if raw_bytes is None:
        return bytes(data)
    try:
        unpacked: bytes = _codec().decompress(data, decompressed_size=raw_bytes, asbytes=True)
    except (OSError, ValueError, MemoryError) as err:
        raise damaged(db, f"segment {number}") from err
    return unpacked


def damaged(db: Database, what: str) -> IntegrityError:
    """The error that says `what` of a ledger cannot be read any more."""
    return IntegrityError(
        f"{db.path}: {what} is damaged. Restore the ledger from a backup, or give another path "
        "to ask again."
    )


def _groups(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    num_bytes = 0
    for body in bodies:
        if group and num_bytes + len(body) > _SEGMENT_BYTES:
            yield group
            group, num_bytes = [], 0
        group.append(body)
        num_bytes += len(body)
    if group:
        yield group


def _pack(data: bytes) -> tuple[bytes, int | None]:
    if len(data) < _COMPRESS_FROM_BYTES:
        return data, None
    packed: bytes = _codec().compress(data, asbytes=True)
    return (packed, len(data)) if len(packed) < len(data) else (data, None)


@cache
def _codec() -> Any:
    import pyarrow as pa  # here: `stillhouse --help` must not wait for it

    return pa.Codec("zstd", compression_level=1)
