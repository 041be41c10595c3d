import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from cli_process import Ran, run_here, run_there, start, write_prompts
from typer.main import get_command

from stillhouse import __version__
from stillhouse.cli._main import Terminated, run_command
from stillhouse.errors import ConfigError, TooManyFailuresError
from stillhouse.runlog import Ledger


def _failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def _run_failing(capsys: pytest.CaptureFixture[str], error: BaseException, *arguments: str) -> Ran:
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("train")(_failing(error))
    code = run_command([*arguments, "train"], command=get_command(app))
    out, err = capsys.readouterr()
    return Ran(code, out, err)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("x is 3. Give 2."), 2, "error: x is 3. Give 2.\n"),
        (TooManyFailuresError("9 of 10 failed."), 3, "error: 9 of 10 failed.\n"),
        (KeyboardInterrupt(), 130, "stopped; run the same command to resume\n"),
        (Terminated(), 143, "stopped; run the same command to resume\n"),
        (OSError(28, "No space left on device", "/d/f"), 2, "error: /d/f: No space left on device"),
        (MemoryError(), 2, "error: Out of memory."),
        (typer.Exit(2), 2, ""),
    ],
)
def test_each_kind_of_exception_has_its_exit_code_and_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    ran = _run_failing(capsys, error)
    assert ran.code == code
    assert ran.err.startswith(message)
    assert ran.err.count("\n") <= 1
    assert ran.out == ""


@pytest.mark.parametrize(
    "error", [ValueError("two\nlines"), BrokenPipeError(32, "Broken pipe"), OSError("odd")]
)
def test_an_unexpected_exception_is_our_bug_on_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    ran = _run_failing(capsys, error)
    assert ran.code == 1
    assert type(error).__name__ in ran.err
    assert "This is a bug in stillhouse" in ran.err
    assert ran.err.count("\n") == 1


def test_the_traceback_is_shown_only_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Traceback" not in _run_failing(capsys, ValueError("odd")).err
    monkeypatch.setenv("STILLHOUSE_DEBUG", "1")
    assert "Traceback" in _run_failing(capsys, ValueError("odd")).err


def test_an_error_is_a_json_document_on_stderr_with_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran = run_here(capsys, "verify", tmp_path / "none", "--json")
    assert (ran.code, ran.out) == (2, "")
    error = json.loads(ran.err)["error"]
    assert error["type"] == "IntegrityError"
    assert "none does not exist" in error["message"]


def test_a_wrong_flag_is_a_json_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_here(capsys, "verify", "x", "--json", "--frce")
    assert ran.code == 2
    assert "--frce" in json.loads(ran.err)["error"]["message"]


def test_a_wrong_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_here(capsys, "verfy", "x")
    assert ran.code == 2
    assert "'verify'" in ran.err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(capsys, "--version") == Ran(0, f"stillhouse {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["chat", "local:", "--prompt", "x"], "pip install 'stillhouse[train]'"),
        (["doctor"], "Run: pip install 'stillhouse[train]'"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    tmp_path: Path, arguments: list[str], text: str
) -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # as if it were not installed
        "from stillhouse.cli._main import run_command\n"
        f"sys.exit(run_command({arguments!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert text in done.stdout + done.stderr
    assert "bug" not in done.stderr


def _wait_for_answers(ledger: Path, *, at_least: int) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        with Ledger(ledger) as opened:
            if opened.totals().num_answered >= at_least:
                return
        time.sleep(0.05)
    raise AssertionError(f"{at_least} answers did not come within a minute")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_collection_says_so_and_keeps_what_was_answered(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    write_prompts(tmp_path / "p.jsonl", num_train=40)
    slow = "fake:?latency_s=0.2&parallel=2"
    process = start("collect", "p.jsonl", "--teacher", slow, cwd=tmp_path)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("collect: 0/42")
    _wait_for_answers(tmp_path / "ledger.sqlite", at_least=2)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    assert err.endswith("stopped; run the same command to resume\n")
    assert "Traceback" not in err

    assert run_there("collect", "p.jsonl", "--teacher", "fake:", cwd=tmp_path).code == 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_answered == 42  # no answered request was asked again


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close in another way")
def test_a_reader_that_goes_away_is_no_bug(tmp_path: Path) -> None:
    process = start("run", "--schema", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_terminal_that_knows_no_unicode_gets_escapes_and_no_crash(tmp_path: Path) -> None:
    ran = run_there(
        "chat", "fake:", "--prompt", "Fähren für Österreich", cwd=tmp_path, PYTHONIOENCODING="ascii"
    )
    assert ran.code == 0
    assert "F\\xe4hren" in ran.out
