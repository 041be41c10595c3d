import importlib
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_process import run_here

import stillhouse
from stillhouse.cli._app import build_app
from stillhouse.cli._config_page import config_text, described_settings
from stillhouse.cli._docs import cli_text, options_text

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = ["demo", "init", "doctor", "run", "scan", "bakeoff", "estimate", "collect", "proxy"]
COMMANDS += ["import", "curate", "capture", "preflight", "train", "fit", "evaluate", "certify"]
COMMANDS += ["export", "yield", "arena", "benchmarks", "chat", "serve", "served"]
COMMANDS += ["release", "terms", "watermark", "keys", "sign", "verify", "lineage", "prove"]
COMMANDS += ["forget", "documents", "economics", "audit-pack", "watch", "clear-account"]
COMMANDS += ["radioactivity", "attribute", "range"]
NOT_FOR_HELP = ("torch", "transformers", "pyarrow", "pydantic", "aiohttp", "yaml", "rich", "numpy")
REGENERATE = "Run: python -m stillhouse.cli._docs --write"


def test_commands_come_in_the_order_in_which_a_newcomer_needs_them() -> None:
    assert list(build_app().commands) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    ran = run_here(capsys, command, "--help")
    assert ran.code == 0
    assert f"Usage: stillhouse {command}" in ran.out


def test_flags_are_frozen() -> None:
    golden = (REPOSITORY / "tests" / "golden" / "cli_options.txt").read_text(encoding="utf-8")
    assert options_text() == golden, f"A flag changed. If users were told: {REGENERATE}"


def test_the_page_on_commands_is_what_help_says() -> None:
    page = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    assert cli_text() == page, REGENERATE


def test_the_page_on_settings_is_what_the_models_say() -> None:
    page = (REPOSITORY / "docs" / "config.md").read_text(encoding="utf-8")
    assert config_text() == page, REGENERATE


def test_all_public_settings_are_on_the_page() -> None:
    page = (REPOSITORY / "docs" / "config.md").read_text(encoding="utf-8")
    rooms = [found.name for found in pkgutil.iter_modules(stillhouse.__path__)]
    public = {
        name
        for room in rooms
        if room != "__main__"
        for name in importlib.import_module(f"stillhouse.{room}").__all__
        if name.endswith("Config")
    }
    titles = described_settings()
    assert {"RunConfig", "FitConfig", "NgramConfig", "ArenaConfig"} <= public
    assert public - titles.keys() == set()
    assert [title for title in titles.values() if f"\n## {title}\n" not in page] == []


def test_help_loads_none_of_what_commands_need() -> None:
    code = (
        "import sys\n"
        "from stillhouse.cli._main import run_command\n"
        "run_command(['--help'])\n"
        f"print('LOADED', [name for name in {NOT_FOR_HELP!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith("LOADED []\n")


def test_help_is_quick() -> None:
    durations_s = []
    for _ in range(3):
        started_s = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "stillhouse", "--help"],
            capture_output=True,
            check=True,
            timeout=60,
        )
        durations_s.append(time.monotonic() - started_s)
    # 0.1 s on a quiet machine; the best of three forgives a busy one.
    assert min(durations_s) < 0.5
