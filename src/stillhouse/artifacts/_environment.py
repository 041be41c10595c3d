"""Which code ran, and where."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from stillhouse import __version__
from stillhouse.artifacts._manifest import CodeInfo, EnvironmentInfo

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pyarrow", "xllamacpp", "gguf")


@cache
def code_info() -> CodeInfo:
    """Version, and commit where the running code is a git checkout.

    Asked once for a process: what is committed later is not what runs.
    """
    source = Path(__file__).resolve().parents[1]
    # An environment inside somebody else's repository must not report that repository's commit.
    if _git(source, "ls-files", "--error-unmatch", str(source / "errors.py")) is None:
        return CodeInfo(version=__version__, commit=None, dirty=None)
    status = _git(source, "status", "--porcelain", "--", str(source))
    return CodeInfo(
        version=__version__,
        commit=_git(source, "rev-parse", "HEAD"),
        dirty=bool(status) if status is not None else None,
    )


def environment_info(device: str | None) -> EnvironmentInfo:
    """Python, platform and the versions that change results."""
    packages = dict(_versions())
    return EnvironmentInfo(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        torch=packages.pop("torch", None),
        device=device,
        packages=packages,
    )


@cache
def _versions() -> Mapping[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return MappingProxyType(found)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where there is no git, no repository or no answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
