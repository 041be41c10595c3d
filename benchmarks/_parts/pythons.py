"""Which packages the interpreters have that others' clients and trainers run in."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def versions_in(python: Path, packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of the packages that the interpreter has."""
    output = subprocess.check_output([python, "-c", _VERSIONS, *packages], text=True)
    versions: dict[str, str] = json.loads(output)
    return versions
