"""The header of a GGUF file, checked before native code sees it (a bad file may abort there).

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import ConfigError, IntegrityError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_SMALLEST_TENSOR_ENTRY = 24  # name length, dimension count, type and offset, with nothing in them
# Tensor type to (elements, bytes) of a block, as in ggml.h.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says about itself.

    Attributes:
        metadata: Scalars and strings by key; arrays are left out.
        num_tensors: Tensors in the file.
    """

    metadata: dict[str, Any]
    num_tensors: int

    @property
    def name(self) -> str:
        """The model's own name, `model` where the file gives none."""
        name = self.metadata.get("general.name")
        return "-".join(name.split()) if isinstance(name, str) and name.strip() else "model"

    @property
    def context_length(self) -> int | None:
        """The context in tokens that the model was trained with."""
        architecture = self.metadata.get("general.architecture")
        length = self.metadata.get(f"{architecture}.context_length")
        return length if isinstance(length, int) and length > 0 else None


def read_gguf_header(path: Path) -> GgufHeader:
    """The header of `path`, after checking that all its tensors lie inside the file.

    Raises:
        ConfigError: the file is missing or cannot be read.
        IntegrityError: it is not GGUF, of another version, damaged or truncated.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
            if magic != _MAGIC:
                raise IntegrityError(
                    f"{path} is not a GGUF model: it starts with {magic!r}, not {_MAGIC!r}. "
                    "Give a .gguf file."
                )
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).header()
    except OSError as err:
        raise ConfigError(
            f"The model file {path} cannot be read ({err.strerror}). Give the path of a .gguf "
            "file, or none for the embedded model."
        ) from err


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._size = len(data)
        self._at = 4

    def header(self) -> GgufHeader:
        version = self._scalar("I")
        if version not in _VERSIONS:
            raise IntegrityError(
                f"{self._path} is GGUF of version {version}; versions 2 and 3 are read. "
                "Convert the model again."
            )
        num_tensors, num_keys = self._scalar("Q"), self._scalar("Q")
        metadata: dict[str, Any] = {}
        for _ in range(num_keys):
            key = self._string()
            value = self._value(self._scalar("I"))
            if value is not None:
                metadata[key] = value
        self._need(num_tensors * _SMALLEST_TENSOR_ENTRY)
        self._check_tensors(num_tensors, metadata.get("general.alignment", _DEFAULT_ALIGNMENT))
        return GgufHeader(metadata=metadata, num_tensors=num_tensors)

    def _check_tensors(self, num_tensors: int, alignment: Any) -> None:
        if not isinstance(alignment, int) or alignment < 1:
            raise self._damaged(f"general.alignment is {alignment!r}")
        end = 0
        for _ in range(num_tensors):
            name = self._string()
            num_elements = 1
            for _ in range(self._scalar("I")):
                num_elements *= self._scalar("Q")
            tensor_type, offset = self._scalar("I"), self._scalar("Q")
            # A type newer than this table counts as empty: the engine itself will judge it.
            elements, num_bytes = _BLOCKS.get(tensor_type, (1, 0))
            if num_elements % elements:
                raise self._damaged(f"tensor {name!r} is not a whole number of blocks")
            end = max(end, offset + num_elements // elements * num_bytes)
        start = -(-self._at // alignment) * alignment
        if start + end > self._size:
            raise IntegrityError(
                f"{self._path} is truncated: its tensors need {start + end} bytes, the file has "
                f"{self._size}. Download it again."
            )

    def _value(self, value_type: int) -> Any:
        if value_type in _SCALARS:
            return self._scalar(_SCALARS[value_type])
        if value_type == _STRING:
            return self._string()
        if value_type == _ARRAY:
            self._skip_array()
            return None
        raise self._damaged(f"metadata of the unknown type {value_type}")

    def _skip_array(self) -> None:
        element_type, length = self._scalar("I"), self._scalar("Q")
        if element_type in _SCALARS:
            self._skip(length * struct.calcsize(_SCALARS[element_type]))
        elif element_type == _STRING:
            for _ in range(length):
                self._skip(self._scalar("Q"))
        else:
            raise self._damaged(f"an array of the type {element_type}")

    def _string(self) -> str:
        length = self._scalar("Q")
        self._need(length)
        raw = self._data[self._at : self._at + length]
        self._at += length
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as err:
            raise self._damaged("text that is not UTF-8") from err

    def _scalar(self, code: str) -> Any:
        width = struct.calcsize(code)
        self._need(width)
        (value,) = struct.unpack_from(f"<{code}", self._data, self._at)
        self._at += width
        return value

    def _skip(self, num_bytes: int) -> None:
        self._need(num_bytes)
        self._at += num_bytes

    def _need(self, num_bytes: int) -> None:
        if self._at + num_bytes > self._size:
            raise IntegrityError(
                f"{self._path} is truncated inside its header, at byte {self._at} of {self._size}. "
                "Download it again."
            )

    def _damaged(self, what: str) -> IntegrityError:
        return IntegrityError(f"{self._path} is damaged: it holds {what}. Download it again.")
