"""What identifies a model folder's weights."""

import hashlib
import json
from pathlib import Path
from typing import Any

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
    with path.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(_HEADER_LENGTH_BYTES), "little")
        if header_bytes > path.stat().st_size - _HEADER_LENGTH_BYTES:
            raise IntegrityError(f"{path} is not a whole safetensors file. Fetch it again.")
        try:
            header: dict[str, Any] = json.loads(stream.read(header_bytes))
        except ValueError as err:
            raise IntegrityError(f"{path} is not a safetensors file. Fetch it again.") from err
        header.pop("__metadata__", None)
        hashes = []
        for name, tensor in header.items():
            start, end = tensor["data_offsets"]
            entry = hashlib.sha256(f"{tensor['dtype']}{tensor['shape']}".encode())
            stream.seek(_HEADER_LENGTH_BYTES + header_bytes + start)
            data = stream.read(end - start)
            if len(data) != end - start:
                raise IntegrityError(f"{path} is cut off. Fetch it again.")
            entry.update(data)
            hashes.append((name, entry.digest()))
    return hashes
