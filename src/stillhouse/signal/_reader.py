"""Read a signal by the content of its text, any row at any time."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError
from stillhouse.signal._codec import Codec, describe
from stillhouse.signal._head import read_head
from stillhouse.signal._part import KEY_BYTES, Part
from stillhouse.signal._signals import FloatArray, Signal

CACHE_BYTES = 256 * 1024 * 1024
"""Decoded blocks that a reader keeps: a million tokens at K = 32."""
_OPEN_BYTES = 256 * 1024 * 1024

K = TypeVar("K")
V = TypeVar("V")


class SignalReader:
    """Reads rows of a signal artefact by key, from memory-mapped parts.

    A part is compared with its checksum when something is first read from it.

    Args:
        artifact: Of the kind `signal`.
        cache_bytes: Decoded blocks to keep in memory.

    Raises:
        IntegrityError: a part is damaged, or of a codec that this version does not know.
    """

    def __init__(self, artifact: Artifact, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._artifact = artifact
        self._path = artifact.path
        files = [entry for entry in artifact.manifest.files if entry.name.startswith("signal-")]
        self._names = [entry.name for entry in files]
        self._bytes = [entry.bytes for entry in files]
        self._verified: set[int] = set()
        self._parts: _Recent[int, Part] = _Recent(_OPEN_BYTES)
        self._blocks: _Recent[tuple[int, int], Signal] = _Recent(cache_bytes)
        self.codec: Codec[Any] | None = None
        self._keys = _KeyTable([self._enter(number).keys for number in range(len(files))])

    def __contains__(self, key: str) -> bool:
        return self._keys.find(key) is not None

    def __len__(self) -> int:
        return len(self._keys)

    def read(self, key: str) -> Any:
        """The signal of one example, of the kind that the codec keeps, in arrays of its own.

        Raises:
            IntegrityError: the signal was captured for other text, or a part is damaged.
        """
        place = self._keys.find(key)
        if place is None:
            self.verify()  # a damaged key would be a missing one
            raise IntegrityError(
                f"{self._path} holds no signal for an example (key {key[:12]}): it was captured "
                "for other prompts, completions or tokens. Run capture on this dataset."
            )
        number, row = place
        part = self._part(number)
        block, start, stop = part.block_of(row)
        return self._block(part, number, block).rows(start, stop)

    @property
    def cached_bytes(self) -> int:
        """Memory of the decoded blocks that are kept."""
        return self._blocks.num_bytes

    def head(self) -> FloatArray:
        """The teacher's head of a `hidden` signal, (V, D) float32.

        Raises:
            IntegrityError: there is none, or it is damaged.
        """
        return read_head(self._artifact)

    def verify(self) -> None:
        """Compare every part with its checksum that has not been read from yet.

        Raises:
            IntegrityError: one is damaged.
        """
        for number in range(len(self._names)):
            self._part(number)

    def _enter(self, number: int) -> Part:
        """A part for its keys alone; all parts must have one codec."""
        part = Part(self._path / self._names[number])
        if self.codec is None:
            self.codec = part.codec
        if describe(part.codec) != describe(self.codec):
            raise IntegrityError(
                f"{self._path / self._names[number]} has codec {describe(part.codec)}, other "
                f"parts {describe(self.codec)}. Run capture again."
            )
        return part

    def _part(self, number: int) -> Part:
        return self._parts.get(number, lambda: (self._open(number), self._bytes[number]))

    def _open(self, number: int) -> Part:
        part = Part(self._path / self._names[number])
        if number not in self._verified:
            part.verify()
            self._verified.add(number)
        return part

    def _block(self, part: Part, number: int, block: int) -> Signal:
        def decode() -> tuple[Signal, int]:
            signal = part.decode(block)
            return signal, signal.nbytes

        return self._blocks.get((number, block), decode)


class _Recent(Generic[K, V]):
    """What was used last, up to a number of bytes; at least one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.num_bytes = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K, make: Callable[[], tuple[V, int]]) -> V:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        value, num_bytes = make()
        self._kept[key] = (value, num_bytes)
        self.num_bytes += num_bytes
        while self.num_bytes > self._max_bytes and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            self.num_bytes -= freed
        return value


class _KeyTable:
    """Where each key is: sorted arrays, 48 bytes a row, not a dictionary of strings."""

    def __init__(self, keys: list[npt.NDArray[np.uint8]]) -> None:
        joined = np.concatenate([*keys, np.zeros((0, KEY_BYTES), dtype=np.uint8)])
        heads = np.ascontiguousarray(joined[:, :8]).view(np.uint64)[:, 0]
        order = np.argsort(heads, kind="stable")
        self._heads, self._keys, self._order = heads[order], joined[order], order
        self._firsts = np.cumsum([0, *(len(part) for part in keys)])

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key: str) -> tuple[int, int] | None:
        """Part and row of a key."""
        wanted = np.frombuffer(bytes.fromhex(key), dtype=np.uint8)
        index = int(np.searchsorted(self._heads, wanted[:8].view(np.uint64)[0]))
        while index < len(self._keys) and np.array_equal(self._keys[index, :8], wanted[:8]):
            if np.array_equal(self._keys[index], wanted):
                row = int(self._order[index])
                part = int(np.searchsorted(self._firsts, row, side="right")) - 1
                return part, row - int(self._firsts[part])
            index += 1
        return None
