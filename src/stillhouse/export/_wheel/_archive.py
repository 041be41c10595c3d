"""A wheel written by hand: the same bytes for the same content, with no build tool and no network.

Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_PLAIN_FILE = 0o644 << 16


def write_wheel(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    name: str,
    version: str,
    summary: str,
    requires: Sequence[str],
) -> Path:
    """Write a pure Python wheel and return its path.

    Args:
        folder: Where.
        files: Contents of the package, by path inside it.
        name: Of the distribution and of its package.
        version: Of the distribution.
        summary: One line.
        requires: What pip installs beside it.
    """
    info = f"{name}-{version}.dist-info"
    entries = {f"{name}/{path}": content for path, content in files.items()}
    entries[f"{info}/METADATA"] = _metadata(name, version, summary, requires)
    entries[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: stillhouse\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [
        f"{path},{_hash(content)},{len(content)}" for path, content in sorted(entries.items())
    ]
    entries[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        # The record of the contents comes last, as the specification asks.
        for path in sorted(entries, key=lambda path: (path.startswith(info), path)):
            entry = zipfile.ZipInfo(path, _FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _PLAIN_FILE
            entry.create_system = 3  # the same on every system
            archive.writestr(entry, entries[path])
    return target


def _metadata(name: str, version: str, summary: str, requires: Sequence[str]) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Summary: {summary}", "Requires-Python: >=3.10"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return ("\n".join(lines) + "\n").encode()


def _hash(content: bytes) -> str:
    digest = hashlib.sha256(content).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
