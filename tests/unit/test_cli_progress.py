import sys
from pathlib import Path

import pytest
from artifact_chains import make_chain

from stillhouse.cli._output import table_text
from stillhouse.cli._progress import (
    Bars,
    Lines,
    Silence,
    duration_text,
    metrics_text,
    open_display,
    progress_line,
)
from stillhouse.runlog import Progress


def _progress(done: int, total: int | None = 10, **changes: object) -> Progress:
    values = {"stage": "collect", "unit": "prompts", "elapsed_s": 2.0, "eta_s": 8.0, **changes}
    return Progress(done=done, total=total, **values)  # type: ignore[arg-type]


def test_a_line_says_what_is_done_what_is_left_and_how_it_goes() -> None:
    metrics = {"collect/cost_usd": 0.0123, "time/tokens_per_s": 1234.5, "train/loss_nats": 1.23456}
    line = progress_line(_progress(1200, 4000, metrics=metrics))
    assert line == "collect: 1,200/4,000 prompts, 8.0 s left, $0.0123, 1,234 tokens/s, loss 1.235"


def test_a_line_without_a_total_or_a_pace_leaves_them_out() -> None:
    assert progress_line(_progress(3, None, eta_s=None)) == "collect: 3 prompts"


def test_no_time_is_promised_from_the_first_few_items() -> None:
    assert progress_line(_progress(1, 96, elapsed_s=10.0, eta_s=950.0)) == "collect: 1/96 prompts"
    assert "left" in progress_line(_progress(5, 96, elapsed_s=10.0, eta_s=182.0))


def test_a_finished_stage_shows_how_long_it_took() -> None:
    assert progress_line(_progress(10, eta_s=0.0)) == "collect: 10/10 prompts, 2.0 s"


def test_metrics_that_say_nothing_to_a_person_are_left_out() -> None:
    quiet = {"collect/num_failed": 0.0, "collect/cost_usd": 0.0, "collect/completion_tokens": 7.0}
    assert metrics_text(quiet) == ""
    assert metrics_text({"collect/num_failed": 2.0}) == "2 failed"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.6, "60 s"),
        (99.4, "99 s"),
        (99.6, "1 min 40 s"),
        (3599.6, "1 h 00 min"),
        (3 * 3600 + 125, "3 h 02 min"),
    ],
)
def test_durations_are_as_precise_as_a_person_wants(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_log_gets_a_line_at_the_start_at_the_end_and_when_due(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Lines(line_every_s=3600) as lines:
        for done in (0, 1, 5, 10, 10):
            lines.show(_progress(done))
        lines.show(_progress(0, stage="curate"))
    shown = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["collect: 0/10 prompts", "collect: 10/10 prompts", "curate: 0/10 prompts"]


def test_a_log_gets_every_line_that_is_due(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(line_every_s=0.0) as lines:
        for done in range(4):
            lines.show(_progress(done))
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_bars_show_the_stage_its_count_and_its_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.show(_progress(4, metrics={"train/loss_nats": 2.5}))
        bars.show(_progress(10, metrics={"train/loss_nats": 1.5}))
        bars.say("collect: unchanged [skipped]")
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "loss 1.500" in shown
    assert "collect: unchanged [skipped]" in shown


def test_stderr_that_is_no_terminal_gets_lines_and_quiet_gets_nothing() -> None:
    assert isinstance(open_display(is_quiet=False), Lines)
    assert isinstance(open_display(is_quiet=True), Silence)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize(
    ("env", "has_bar", "has_colour"),
    [
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_a_terminal_gets_bars_in_colour_unless_it_asks_for_none(
    tmp_path: Path, env: dict[str, str], has_bar: bool, has_colour: bool
) -> None:
    make_chain(tmp_path)
    shown = _stderr_on_a_terminal(["verify", str(tmp_path / "child")], env)
    assert ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" in shown) == has_bar
    assert ("\x1b[3" in shown or "\x1b[38" in shown) == has_colour
    assert "4/4" in shown


def test_a_table_into_a_pipe_is_not_cut_and_quotes_brackets() -> None:
    text = table_text(["model", "value"], [["[bold]x", "y" * 100]])
    assert text.splitlines()[1] == f"[bold]x   {'y' * 100}"


def _stderr_on_a_terminal(arguments: list[str], env: dict[str, str]) -> str:
    import os
    import pty
    import subprocess

    master, slave = pty.openpty()
    base = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-m", "stillhouse", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env={**base, **env},
    )
    os.close(slave)
    received = b""
    try:
        while chunk := os.read(master, 4096):
            received += chunk
    except OSError:  # Linux says EIO when the last writer has gone
        pass
    os.close(master)
    assert process.wait(timeout=30) == 0
    return received.decode()
