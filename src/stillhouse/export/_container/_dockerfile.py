"""The text of a Dockerfile."""

from collections.abc import Sequence
from importlib.metadata import version

_BASE = "python:3.11-slim"


def pinned(packages: Sequence[str]) -> list[str]:
    """The packages in the versions that verified the export here."""
    return [f"{package}=={version(package)}" for package in packages]


def dockerfile(*, installs: Sequence[str], copies: Sequence[str], command: Sequence[str]) -> str:
    """A small image that runs as nobody.

    Args:
        installs: What pip installs: packages with versions, and files in /app.
        copies: Files beside the Dockerfile.
        command: What runs, in /app.
    """
    quoted = ", ".join(f'"{word}"' for word in command)
    lines = [
        f"FROM {_BASE}",
        "WORKDIR /app",
        f"COPY {' '.join(copies)} /app/",
        f"RUN pip install --no-cache-dir {' '.join(installs)}",
        "USER nobody",
        f"ENTRYPOINT [{quoted}]",
    ]
    return "\n".join(lines) + "\n"
