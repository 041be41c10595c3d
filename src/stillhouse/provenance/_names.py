"""What folders are called where several are named together."""

from collections.abc import Collection
from pathlib import Path


def folder_name(path: Path, taken: Collection[str]) -> str:
    """The name of a folder, with as many folders above as tell it from the names in `taken`."""
    parts = path.parts
    for count in range(1, len(parts)):
        name = "/".join(parts[-count:])
        if name not in taken:
            return name
    return str(path)
