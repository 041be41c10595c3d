"""The log of requests: what is kept, several files, kills in the middle of a line, full disks."""

import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError
from stillhouse.scrubbing import scrub_texts
from stillhouse.servicelog import (
    AuditRow,
    LogAnswer,
    LogAsked,
    LogConfig,
    LogWriter,
    RequestRow,
    prepared,
    read_log,
)


def a_row(number: int = 0, text: str = "hello", **changes: Any) -> dict[str, Any]:
    return {
        "kind": "request",
        "v": 1,
        "id": f"r{number}",
        "at": "2026-11-29T12:00:00Z",
        "protocol": "/v1/chat/completions",
        "model": "student",
        "route": "teacher",
        "reason": "unsure",
        "version": "abc",
        "asked": {"messages": [{"role": "user", "content": text}], "temperature": 0.5},
        "answers": [{"text": f"to {text}", "finish_reason": "stop", "num_tokens": 1}],
        "seconds": 0.25,
        "status": 200,
        **changes,
    }


def an_audit(**changes: Any) -> dict[str, Any]:
    row = a_row()
    kept = {name: row[name] for name in ("v", "id", "at", "version", "asked")}
    given, answer = {"text": "card"}, {"text": "loan"}
    return {**kept, "kind": "audit", "teacher": "t", "loss": 1.0, "given": given, "answer": answer}


def write(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> LogWriter:
    writer = LogWriter(LogConfig(folder=folder, **settings), scrub=scrub_texts)
    for row in rows:
        writer.put(lambda row=row: row)  # type: ignore[misc]
    writer.close()
    return writer


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "log"
    writer = write(folder, [a_row(0), an_audit(), a_row(1, confidence=0.5, cancelled=True)])
    log = read_log(folder)
    first, audit, last = log
    assert isinstance(first, RequestRow)
    assert first.from_teacher
    assert first.asked is not None
    assert first.asked.messages[0].content == "hello"
    assert first.answers[0].text == "to hello"
    assert isinstance(audit, AuditRow)
    assert (audit.given.text, audit.answer.text, audit.loss) == ("card", "loan", 1.0)
    assert isinstance(last, RequestRow)
    assert (last.confidence, last.cancelled) == (0.5, True)
    assert (log.num_rows, log.num_torn, log.num_damaged) == (3, 0, 0)
    assert (writer.state.state, writer.state.written, writer.state.dropped) == ("writing", 3, 0)


def test_nobody_else_may_read_a_log(tmp_path: Path) -> None:
    write(tmp_path / "log", [a_row()])
    (file,) = (tmp_path / "log").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700


def test_a_full_file_is_followed_by_another(tmp_path: Path) -> None:
    writer = LogWriter(LogConfig(folder=tmp_path, max_file_bytes=4096))
    for number in range(12):
        writer.put(lambda number=number: a_row(number, "x" * 700))  # type: ignore[misc]
        assert writer.flush()
    writer.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    assert all(4096 <= file.stat().st_size < 6000 for file in files[:-1])
    assert [row.id for row in read_log(tmp_path)] == [f"r{number}" for number in range(12)]


def test_several_processes_write_files_of_their_own(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, [a_row(number)])
    assert len(list(tmp_path.iterdir())) == 3
    assert {row.id for row in read_log(tmp_path)} == {"r0", "r1", "r2"}


def test_a_writer_with_nothing_to_say_leaves_no_file(tmp_path: Path) -> None:
    write(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="holds no log"):
        read_log(tmp_path)


def test_half_lines_and_rubbish_are_skipped_and_counted(tmp_path: Path) -> None:
    write(tmp_path, [a_row(0), a_row(1)])
    (file,) = tmp_path.iterdir()
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + b"\0\0\0\n" + b'{"kind": "request"}\n[1]\n' + second + second[:-9])
    log = read_log(tmp_path)
    assert [row.id for row in log] == ["r0", "r1"]
    assert (log.num_rows, log.num_torn, log.num_damaged) == (2, 1, 3)
    assert [row.id for row in log] == ["r0", "r1"]  # and once more, with the same counts
    assert (log.num_rows, log.num_torn, log.num_damaged) == (2, 1, 3)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 3000), flips=st.lists(st.integers(0, 3000), max_size=3))
def test_whatever_is_cut_or_flipped_costs_no_other_line(cut: int, flips: list[int]) -> None:
    lines = [json.dumps(a_row(number)).encode() + b"\n" for number in range(5)]
    raw = bytearray(b"".join(lines)[:cut])
    for place in flips:
        if place < len(raw):
            raw[place] ^= 0x80  # no byte of ASCII any more, so that its line is none
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "requests-1.jsonl").write_bytes(raw)
        log = read_log(Path(folder))
        found = [row.id for row in log]
    ended = bytes(raw).split(b"\n")[:-1]  # what comes after the last end is no line
    assert found == [f"r{n}" for n, line in enumerate(lines) if line[:-1] in ended]


def test_a_log_of_a_later_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [a_row(v=2)])
    with pytest.raises(DataError, match="version 2"):
        list(read_log(tmp_path))


def test_what_is_kept_of_texts_is_what_was_asked_for() -> None:
    row = a_row(text="a secret")
    assert prepared(row, "full", None) == row
    bare = json.dumps(prepared(row, "none", None)) + json.dumps(prepared(an_audit(), "none", None))
    assert not any(word in bare for word in ("secret", "card", "loan", "sha256"))
    assert '"temperature"' in bare
    hashed = prepared(row, "hash", None)
    assert "secret" not in json.dumps(hashed)
    assert len(hashed["asked"]["sha256"]) == len(hashed["answers"][0]["sha256"]) == 64
    assert prepared(a_row(text="other"), "hash", None)["asked"] != hashed["asked"]
    refused = prepared(a_row(status=400, error="'a secret' is wrong"), "hash", None)
    assert refused["error"] is None


def test_personal_data_is_replaced_by_one_numbering_in_a_row(tmp_path: Path) -> None:
    mail = "write to ann@example.com or bob@example.com"
    row = a_row(answers=[{"text": "bob@example.com"}])
    row["asked"]["messages"][0]["content"] = mail
    write(tmp_path / "log", [row])
    (kept,) = read_log(tmp_path / "log")
    assert isinstance(kept, RequestRow)
    assert kept.asked is not None
    assert kept.asked.messages[0].content == "write to [EMAIL_1] or [EMAIL_2]"
    assert kept.answers[0].text == "[EMAIL_2]"
    write(tmp_path / "raw", [row], scrub=False)
    (raw,) = read_log(tmp_path / "raw")
    assert raw.asked is not None
    assert raw.asked.messages[0].content == mail
    assert row["asked"]["messages"][0]["content"] == mail  # the caller's own stays


def test_one_row_that_cannot_be_written_is_counted_and_the_others_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = LogWriter(LogConfig(folder=tmp_path))
    writer.put(lambda: a_row(0, text="\ud800"))
    writer.put(lambda: {"what": object()})
    writer.put(lambda: a_row(2))
    writer.close()
    assert [row.id for row in read_log(tmp_path)][-1] == "r2"
    assert writer.state.dropped == 2
    assert "could not be put into a row" in caplog.text


def test_rows_beyond_those_that_may_wait_are_dropped_and_counted(tmp_path: Path) -> None:
    writer = LogWriter(LogConfig(folder=tmp_path, max_waiting_rows=5))

    def slow() -> dict[str, Any]:
        time.sleep(0.3)
        return a_row()

    writer.put(slow)
    time.sleep(0.15)  # the thread has taken it, and is at it
    for number in range(20):
        writer.put(lambda number=number: a_row(number))  # type: ignore[misc]
    assert writer.state.dropped_waiting == 15
    writer.close()
    assert writer.state.written == 6


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Nothing can be logged"):
        LogWriter(LogConfig(folder=tmp_path / "file" / "log"))


def test_the_page_names_every_field() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    fields = {*RequestRow.model_fields, *AuditRow.model_fields}
    fields |= {*LogAsked.model_fields, *LogAnswer.model_fields}
    assert fields <= named


WRITER = """
import sys, threading, time
from pathlib import Path
from stillhouse.servicelog import LogConfig, LogWriter

writer = LogWriter(LogConfig(folder=Path(sys.argv[1]), retry_s=0.05))
row = {"kind": "request", "v": 1, "at": "2026-11-29T12:00:00Z", "protocol": "/v1", "model": "m",
       "route": "student", "reason": "only", "version": "v", "seconds": 0.1, "status": 200}
print("ready", flush=True)
for number, line in enumerate(sys.stdin):
    writer.put(lambda: {**row, "id": f"r{number}", "answers": [{"text": "x" * int(line)}]})
    writer.flush()
    state = writer.state
    print(state.state, state.written, state.dropped, flush=True)
writer.close()
"""


class Child:
    """A process that writes a row for each line that it is told, and says how the log is doing."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def put(self, num_chars: int = 10) -> tuple[str, int, int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{num_chars}\n")
        self.process.stdin.flush()
        state, written, dropped = self.process.stdout.readline().split()
        return state, int(written), int(dropped)

    def end(self) -> str:
        """What it said on stderr."""
        return self.process.communicate(timeout=20)[1]


def test_a_killed_process_leaves_a_log_that_can_be_read(tmp_path: Path) -> None:
    child = Child(tmp_path)
    for _ in range(5):
        child.put()
    child.process.send_signal(signal.SIGKILL)
    child.end()
    assert [row.id for row in read_log(tmp_path)] == [f"r{number}" for number in range(5)]


def test_a_full_disk_is_counted_and_said_once_and_writing_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    # A limit on the size of files refuses writes as a full disk does: in the middle of a line.
    child = Child(tmp_path)
    pid, hard = child.process.pid, resource.RLIM_INFINITY
    assert child.put() == ("writing", 1, 0)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (700, hard))
    assert child.put(2000) == ("failing", 1, 1)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    time.sleep(0.1)
    assert child.put() == ("failing", 1, 2)  # tried again, in vain
    assert child.put() == ("failing", 1, 3)  # not tried again so soon
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    time.sleep(0.1)
    assert child.put() == ("writing", 2, 3)
    told = child.end()
    assert told.count("answered and not logged") == 1
    log = read_log(tmp_path)
    assert [row.id for row in log] == ["r0", "r4"]
    assert (log.num_torn, log.num_damaged) == (0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_tmpfs_leaves_whole_lines_only(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        child = Child(tmp_path)
        states = [child.put(1500) for _ in range(8)]
        assert states[0] == ("writing", 1, 0)
        assert states[-1][0] == "failing"
        for file in sorted(tmp_path.iterdir()):
            if not file.name.endswith(f"-{1:04d}.jsonl"):
                file.unlink()
        log = read_log(tmp_path)
        assert [row.id for row in log] == [f"r{n}" for n in range(states[-1][1])]
        assert log.num_torn == 0
        next(tmp_path.iterdir()).unlink()
        time.sleep(0.1)
        assert child.put(1500)[0] == "writing"
        child.end()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
