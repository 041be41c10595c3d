"""What importing costs, and what each room shows. The import contract itself is in pyproject."""

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import stillhouse

ROOMS = [f"stillhouse.{found.name}" for found in pkgutil.iter_modules(stillhouse.__path__)]
HEAVY = {"torch", "transformers", "xllamacpp", "gguf", "peft", "tokenizers"}
LIGHT_ROOMS = ["errors", "records", "settings", "artifacts", "runlog", "provenance", "statistics"]
LIGHT_ROOMS += ["tasks", "pages", "graders", "cascade", "scrubbing", "servicelog", "watermark"]
LIGHT_ROOMS += ["signing", "traffic"]
LIGHT_STAGES = ["teachers", "collect", "curate", "protect"]


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_importing_stillhouse_loads_nothing_but_itself() -> None:
    third_party = {"pydantic", "numpy", "pyarrow", "orjson", "typer", "aiohttp", "rich", "yaml"}
    assert not loaded_by("import stillhouse") & (HEAVY | third_party)


@pytest.mark.parametrize("room", LIGHT_ROOMS + LIGHT_STAGES)
def test_a_room_that_needs_no_model_loads_no_heavy_package(room: str) -> None:
    loaded = loaded_by(f"import stillhouse.{room}")
    assert "stillhouse" in loaded
    assert not loaded & HEAVY


def test_the_command_line_and_all_its_commands_load_no_heavy_package() -> None:
    code = (
        "import importlib, pkgutil, stillhouse.cli\n"
        "for found in pkgutil.iter_modules(stillhouse.cli.__path__, 'stillhouse.cli.'):\n"
        "    importlib.import_module(found.name)"
    )
    loaded = loaded_by(code)
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_help_loads_no_heavy_package() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "stillhouse", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "stillhouse" in imported
    assert not imported & (HEAVY | {"pyarrow", "numpy", "scipy", "aiohttp"})


def test_every_room_is_known() -> None:
    assert {name.removeprefix("stillhouse.") for name in ROOMS} >= {
        *LIGHT_ROOMS,
        *LIGHT_STAGES,
        "chat",
        "losses",
        "signal",
        "models",
        "train",
        "evaluate",
        "pipeline",
        "cli",
    }


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"stillhouse.__main__"}))
def test_every_name_that_a_room_shows_exists_once(room: str) -> None:
    module = importlib.import_module(room)
    names = module.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(module, name) for name in names)
    assert not [name for name in names if name.startswith("_") and name != "__version__"]


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"stillhouse.__main__"}))
def test_every_room_says_what_it_is(room: str) -> None:
    first, *_ = (importlib.import_module(room).__doc__ or "").splitlines() or [""]
    assert first.rstrip().endswith((".", ":"))
