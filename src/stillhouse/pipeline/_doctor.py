"""Look at this machine and say what a run would miss, before it does."""

import importlib.util
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from stillhouse import __version__
from stillhouse.errors import MissingDependencyError, StillhouseError

Status = Literal["ok", "warn", "fail"]

# What each extra is made of, as the packages are imported; see pyproject.toml.
EXTRAS = {
    "train": ("torch", "transformers", "safetensors", "peft", "gguf"),
    "encoder": ("onnx", "onnxruntime", "tokenizers"),
    "local": ("xllamacpp",),
}
KEY_VARIABLE = "STILLHOUSE_API_KEY"

_MIN_PYTHON, _NEXT_PYTHON = (3, 11), (3, 14)
_MIN_SQLITE = (3, 35)  # RETURNING and the rest of what current Pythons ship
_GIB = 2**30
# The quick demo was seen to reach 3.7 GB, a part of it mapped weights that may be dropped.
_MEMORY_NEEDED, _MEMORY_COMFORTABLE = 3 * _GIB, 6 * _GIB
# It leaves 0.4 GB, and 0.6 GB in the cache; a training's checkpoints come and go.
_DISK_NEEDED, _DISK_COMFORTABLE = 2 * _GIB, 5 * _GIB
_INSTALL_TRAIN = "pip install 'stillhouse[train]'"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        status: `fail` means that the demo cannot work.
        found: What was found.
        advice: What to do about it; empty when all is well.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def examine(folder: Path) -> list[Check]:
    """Every check, with `folder` as the place where runs would be written."""
    checks = [Check("stillhouse", "ok", __version__), _python(), _cores(), _memory()]
    checks += [_disk(folder), _sqlite()]
    checks += [_package(name, extra) for extra, names in EXTRAS.items() for name in names]
    checks += [_torch_threads(), _embedded_teacher(), *_cache(), _key(), _terms()]
    return checks


def _python() -> Check:
    found = platform.python_version()
    if _MIN_PYTHON <= sys.version_info[:2] < _NEXT_PYTHON:
        return Check("python", "ok", found)
    return Check("python", "fail", found, "Use Python 3.11, 3.12 or 3.13.")


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if cores is None:
        return Check("cores", "warn", "unknown", "Expect the demo to take minutes.")
    if cores < 2:
        return Check("cores", "warn", str(cores), "The demo takes twice as long or more.")
    return Check("cores", "ok", str(cores))


def _memory() -> Check:
    free = _free_memory_bytes()
    if free is None:
        return Check("memory", "warn", "unknown", "Have 6 GiB free for the demo.")
    found = f"{free / _GIB:.1f} GiB free"
    if free < _MEMORY_NEEDED:
        return Check("memory", "fail", found, "Have 3 GiB free: close other programs.")
    if free < _MEMORY_COMFORTABLE:
        return Check("memory", "warn", found, "The demo is comfortable with 6 GiB.")
    return Check("memory", "ok", found)


def _free_memory_bytes() -> int | None:
    """What a new process may use: of the machine, or of the container where that has less."""
    free = [
        value for value in (_machine_free_bytes(), _container_free_bytes()) if value is not None
    ]
    return min(free, default=None)


def _machine_free_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kib) * 1024
    except (OSError, StopIteration):
        pass
    try:  # no /proc on macOS: all of the memory is the best that the standard library knows
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _container_free_bytes() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if limit == "max" else int(limit) - int(used)


def _disk(folder: Path) -> Check:
    existing = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / _GIB:.1f} GiB free in {existing}"
    if free < _DISK_NEEDED:
        return Check("disk", "fail", found, "Free 2 GiB, or run in another folder.")
    if free < _DISK_COMFORTABLE:
        return Check("disk", "warn", found, "Runs with several students need 5 GiB.")
    return Check("disk", "ok", found)


def _sqlite() -> Check:
    found = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= _MIN_SQLITE:
        return Check("sqlite", "ok", found)
    return Check("sqlite", "warn", found, "Only 3.35 and later are tested; use a newer Python.")


def _package(name: str, extra: str) -> Check:
    # The demo trains; only gguf: teachers need the other extra.
    missing: Status = "fail" if extra == "train" else "warn"
    if importlib.util.find_spec(name) is None:
        install = f"pip install 'stillhouse[{extra}]'"
        return Check(name, missing, f"missing (extra {extra!r})", f"Run: {install}")
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "warn", "installed, version unknown", f"Reinstall the extra {extra!r}.")


def _torch_threads() -> Check:
    try:
        import torch
    except (ImportError, OSError) as err:  # OSError: a shared library of torch is missing
        reason = str(err).split("\n")[0]
        return Check("torch threads", "fail", f"no torch ({reason})", f"Run: {_INSTALL_TRAIN}")
    threads = torch.get_num_threads()
    cores = os.cpu_count() or threads
    if threads < cores:
        advice = "OMP_NUM_THREADS or the machine's limits hold torch back; unset it to be faster."
        return Check("torch threads", "warn", f"{threads} of {cores} cores", advice)
    return Check("torch threads", "ok", str(threads))


def _embedded_teacher() -> Check:
    name = "embedded teacher"
    try:
        from stillhouse.models import embedded_gguf

        path = embedded_gguf()
    except MissingDependencyError as err:
        return Check(name, "fail", "missing", str(err))
    except ImportError:  # the room itself needs torch
        return Check(name, "fail", "unknown without torch", f"Run: {_INSTALL_TRAIN}")
    return Check(name, "ok", f"{path.name}, {path.stat().st_size / 1e6:.0f} MB")


def _cache() -> Iterator[Check]:
    try:
        from stillhouse.artifacts import cache_dir
    except ImportError:
        yield Check("cache", "fail", "unknown without torch", f"Run: {_INSTALL_TRAIN}")
        return
    folder = cache_dir()
    yield _writable("cache", folder)
    if any(folder.glob("models/SmolLM2-135M-Instruct*/config.json")):
        yield Check("converted teacher", "ok", "in the cache")
    else:
        yield Check("converted teacher", "ok", "not yet: the first run takes some seconds longer")


def _writable(name: str, folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        advice = "Set STILLHOUSE_CACHE to a folder that you may write."
        return Check(name, "fail", f"{folder} cannot be written ({err.strerror})", advice)
    return Check(name, "ok", str(folder))


def _terms() -> Check:
    from stillhouse.terms import TERMS_VARIABLE, load_terms

    try:
        terms = load_terms()
    except StillhouseError as err:
        return Check("terms", "warn", f"{TERMS_VARIABLE} names what cannot be used", str(err))
    if terms.path is None:
        return Check("terms", "ok", "nothing is declared; API teachers need it (terms init)")
    return Check("terms", "ok", f"declared in {terms.path}")


def _key() -> Check:
    # Whether, never what: output of this command is pasted into public reports.
    if os.environ.get(KEY_VARIABLE):
        return Check("API key", "ok", f"{KEY_VARIABLE} is set")
    return Check("API key", "ok", f"{KEY_VARIABLE} is not set; only API teachers need it")
