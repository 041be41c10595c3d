"""What identifies a model folder's weights."""

import hashlib
import json
import mmap
from pathlib import Path

from stillhouse.errors import IntegrityError

_HEADER_LENGTH_BYTES = 8


def weights_revision(folder: Path) -> str:
    """SHA-256 over the sorted tensors of a folder's safetensors files (docs/format.md, section 4).

    Reads files only, so a teacher's identity is known without loading it. Sharding, file names and
    metadata do not change it.

    Raises:
        IntegrityError: there is no safetensors file, or one is damaged.
    """
    entries = []
    for path in sorted(folder.glob("*.safetensors")):
        entries.extend(_tensor_hashes(path))
    if not entries:
        raise IntegrityError(
            f"{folder} holds no *.safetensors weights. Save the model with safe_serialization."
        )
    digest = hashlib.sha256()
    for name, tensor_hash in sorted(entries):
        digest.update(name.encode() + b"\x00" + tensor_hash)
    return digest.hexdigest()


def _tensor_hashes(path: Path) -> list[tuple[str, bytes]]:
    _check_layout(path)
    hashes = []
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # The raw bytes, not arrays: numpy knows no bfloat16.
        begin = _HEADER_LENGTH_BYTES + int.from_bytes(data[:_HEADER_LENGTH_BYTES], "little")
        header = json.loads(data[_HEADER_LENGTH_BYTES:begin])
        header.pop("__metadata__", None)
        with memoryview(data) as view:
            for name, tensor in header.items():
                start, end = tensor["data_offsets"]
                entry = hashlib.sha256(f"{tensor['dtype']}{tensor['shape']}".encode())
                entry.update(view[begin + start : begin + end])
                hashes.append((name, entry.digest()))
    return hashes


def _check_layout(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass  # opening checks the header and that the tensors fill the file
    except (SafetensorError, OSError) as err:
        raise IntegrityError(f"{path} is damaged or cut off ({err}). Fetch it again.") from err
