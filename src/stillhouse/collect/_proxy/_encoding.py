"""Bodies without the encoding that they were sent in: what is passed on stays as it is."""

import zlib
from typing import Any

MOST_BYTES = 64 << 20
"""The most that a body may be, packed or not, to be recorded."""

_ZLIB_WINDOWS = {"gzip": 31, "x-gzip": 31}
_ARROW_CODECS = {"br": "brotli", "zstd": "zstd"}
_PIECE_BYTES = 1 << 20


class EncodingError(ValueError):
    """A body cannot be unpacked."""


def decoded(body: bytes, encodings: str) -> bytes:
    """`body` without its content encodings; of one that breaks off, what comes before.

    Args:
        body: As it was sent.
        encodings: The header `Content-Encoding`, empty where there is none.

    Raises:
        EncodingError: it is damaged, larger than `MOST_BYTES`, or packed in an unknown way.
    """
    for name in reversed([part.strip().lower() for part in encodings.split(",")]):
        if name not in ("", "identity"):
            body = _unpacked(body, name)
    return body


def _unpacked(body: bytes, name: str) -> bytes:
    if name in _ARROW_CODECS:
        return _with_arrow(body, _ARROW_CODECS[name])
    if name == "deflate":
        # Named after a raw stream, and sent by most with the header of zlib.
        has_header = bool(body) and body[0] & 0x0F == 8
        return _with_zlib(body, 15 if has_header else -15)
    if name in _ZLIB_WINDOWS:
        return _with_zlib(body, _ZLIB_WINDOWS[name])
    raise EncodingError(f"the content encoding {name!r:.40} is not known")


def _with_zlib(body: bytes, window: int) -> bytes:
    try:
        unpacker = zlib.decompressobj(window)
        unpacked = unpacker.decompress(body, MOST_BYTES)
    except zlib.error as err:
        raise EncodingError(f"a packed body is damaged ({err})") from err
    if unpacker.unconsumed_tail:
        raise EncodingError(f"a packed body holds more than {MOST_BYTES} bytes")
    return unpacked


def _with_arrow(body: bytes, codec: str) -> bytes:
    import pyarrow as pa

    pieces: list[bytes] = []
    num_bytes = 0
    stream: Any = pa.CompressedInputStream(pa.py_buffer(body), codec)
    try:
        while piece := stream.read(_PIECE_BYTES):
            pieces.append(piece)
            num_bytes += len(piece)
            if num_bytes > MOST_BYTES:
                raise EncodingError(f"a packed body holds more than {MOST_BYTES} bytes")
    except OSError as err:
        if not pieces:
            raise EncodingError(f"a packed body is damaged ({err})") from err
    return b"".join(pieces)
