"""One part of a signal: a safetensors file of compressed blocks that says how to read itself.

A row lies in one block, so reading one costs the decoding of one block at most.
docs/format.md, section 5, is the layout.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stillhouse.errors import IntegrityError
from stillhouse.records import canonical_json
from stillhouse.signal._codec import Codec, describe
from stillhouse.signal._codecs import codec_of
from stillhouse.signal._id_order import IdOrder
from stillhouse.signal._planes import pack, unpack
from stillhouse.signal._signals import Signal

LAYOUT = 2
KEY_BYTES = 32
_BLOCK_TOKENS = 1_024
"""Tokens of a block at least, the last one apart: 1 ms to decode.

Twice as many save 0.6 bytes a token.
"""
_ARRAYS = {
    "keys": np.uint8,
    "lengths": np.uint32,
    "block_rows": np.uint32,
    "plane_sizes": np.uint32,
    "id_classes_size": np.uint32,
    "id_classes": np.uint8,
    "data": np.uint8,
}

Row = tuple[str, Signal]


def write_part(path: Path, rows: Sequence[Row], codec: Codec[Any]) -> None:
    """Write `rows` as a part; when this returns it is on disk whole.

    Raises:
        ShapeError: a signal is not of the shape that the codec keeps.
    """
    arrays = _arrays(rows, codec)
    header = {"layout": LAYOUT, "codec": describe(codec)}
    # One entry: safetensors writes several in any order, and one content must have one file.
    metadata = {"signal": canonical_json(header | {"sha256": _checksum(header, arrays)}).decode()}
    temporary = path.with_suffix(".tmp")
    save_file(arrays, temporary, metadata=metadata)
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)


class Part:
    """A part, memory-mapped.

    Args:
        path: Its file.

    Attributes:
        codec: What it is written in.
        keys: (rows, 32) uint8.
        lengths: Tokens of each row.

    Raises:
        IntegrityError: it is no part, of another layout or of an unknown codec, or cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = safe_open(path, framework="numpy")
            self._header = self._checked_header((self._file.metadata() or {}).get("signal", ""))
            self.codec = self._known_codec()
            self.keys = self._array("keys")
            self.lengths = self._array("lengths")
            self._place_rows(self._array("block_rows"))
        except (SafetensorError, OSError, ValueError) as err:
            if isinstance(err, IntegrityError):
                raise
            raise self._damaged(str(err)) from err

    def verify(self) -> None:
        """Compare everything with the checksum.

        Raises:
            IntegrityError: a byte is not what was written.
        """
        arrays = {name: self._array(name) for name in _ARRAYS}
        header = {name: value for name, value in self._header.items() if name != "sha256"}
        if _checksum(header, arrays) != self._header.get("sha256"):
            raise self._damaged("its content does not match its checksum")

    def block_of(self, row: int) -> tuple[int, int, int]:
        """The block of a row, and the tokens in it where the row begins and ends."""
        block, start = int(self._row_block[row]), int(self._row_start[row])
        return block, start, start + int(self.lengths[row])

    def decode(self, block: int) -> Signal:
        """The signals of a block, one after the other.

        Raises:
            IntegrityError: it does not decode.
        """
        low, high = int(self._data_ends[block]), int(self._data_ends[block + 1])
        try:
            planes = unpack(self._file.get_slice("data")[low:high], self._sizes[block])
            signal: Signal = self.codec.decode(planes, self._order)
        except (IntegrityError, ValueError, IndexError) as err:
            raise self._damaged(str(err)) from err
        return signal

    @cached_property
    def _order(self) -> IdOrder:
        return IdOrder(unpack(self._array("id_classes"), self._array("id_classes_size"))[0])

    def _checked_header(self, text: str) -> dict[str, Any]:
        try:
            header = json.loads(text)
            layout = header["layout"]
        except (KeyError, TypeError, ValueError) as err:
            raise self._unreadable("it has no signal header") from err
        if layout != LAYOUT:
            raise self._unreadable(f"layout {layout}; this version reads {LAYOUT}")
        return dict(header)

    def _known_codec(self) -> Codec[Any]:
        try:
            return codec_of(self._header.get("codec"))
        except IntegrityError as err:
            raise self._unreadable(str(err)) from err

    def _array(self, name: str) -> npt.NDArray[Any]:
        try:
            array = self._file.get_tensor(name)
        except SafetensorError as err:
            raise self._damaged(str(err)) from err
        if array.dtype != _ARRAYS[name]:
            raise self._damaged(f"{name} is {array.dtype}")
        return np.asarray(array)

    def _place_rows(self, block_rows: npt.NDArray[np.uint32]) -> None:
        num_rows, data = len(self.lengths), self._file.get_slice("data").get_shape()
        self._sizes = self._array("plane_sizes").reshape(len(block_rows), -1, 2)
        block_bytes = self._sizes[:, :, 0].sum(axis=1, dtype=np.int64)
        self._data_ends = np.concatenate([[0], np.cumsum(block_bytes)])
        if (
            self.keys.shape != (num_rows, KEY_BYTES)
            or int(block_rows.sum()) != num_rows
            or data != [self._data_ends[-1]]
        ):
            raise self._damaged("its tables contradict each other")
        before = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        first_rows = np.cumsum(block_rows, dtype=np.int64) - block_rows
        self._row_block = np.repeat(np.arange(len(block_rows)), block_rows)
        # A block without rows, which a damaged table may have, has no first row.
        self._row_start = before - before[first_rows[self._row_block]]

    def _damaged(self, reason: str) -> IntegrityError:
        return IntegrityError(f"{self._path} is damaged ({reason}). Run capture again.")

    def _unreadable(self, reason: str) -> IntegrityError:
        return IntegrityError(
            f"{self._path} cannot be read ({reason}). Read it with the stillhouse that wrote it, "
            "or run capture again."
        )


def _arrays(rows: Sequence[Row], codec: Codec[Any]) -> dict[str, npt.NDArray[Any]]:
    signals = [signal for _, signal in rows]
    order = IdOrder.of(codec.stored_ids(signals))
    blocks = _blocks(signals)
    packed = [pack(codec.encode(block, order)) for block in blocks]
    classes, classes_size = pack([order.classes])
    keys = b"".join(bytes.fromhex(key) for key, _ in rows)
    return {
        "keys": np.frombuffer(keys, dtype=np.uint8).reshape(-1, KEY_BYTES),
        "lengths": np.array([len(signal) for signal in signals], dtype=np.uint32),
        "block_rows": np.array([len(block) for block in blocks], dtype=np.uint32),
        "plane_sizes": np.stack([sizes for _, sizes in packed]),
        "id_classes_size": classes_size,
        "id_classes": np.frombuffer(classes, dtype=np.uint8),
        "data": np.frombuffer(b"".join(data for data, _ in packed), dtype=np.uint8),
    }


def _blocks(signals: Sequence[Signal]) -> list[list[Signal]]:
    blocks: list[list[Signal]] = [[]]
    num_tokens = 0
    for signal in signals:
        if num_tokens >= _BLOCK_TOKENS:
            blocks.append([])
            num_tokens = 0
        blocks[-1].append(signal)
        num_tokens += len(signal)
    return blocks


def _checksum(header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(canonical_json(header))
    for name in _ARRAYS:
        array = arrays[name]
        digest.update(canonical_json([name, str(array.dtype), list(array.shape)]))
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
