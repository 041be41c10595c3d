"""Bad input to `stillhouse collect`, run as its users run it: one clear line, and nothing lost."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from cli_process import Ran, run_here, run_there, start
from ledger_cases import run_sql
from loopback_chat import LoopbackChat, chat_json

from stillhouse.artifacts import Artifact, check_files, open_artifact
from stillhouse.collect import CollectConfig
from stillhouse.collect import collect as collect_in_process
from stillhouse.errors import IntegrityError
from stillhouse.records import Completion, Message, Prompt, Request
from stillhouse.runlog import Answer, Ledger
from stillhouse.teachers import FakeOptions, FakeTeacher

NUM_PROMPTS = 30
LINUX_ROOT = sys.platform == "linux" and os.geteuid() == 0


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "prompts.jsonl"
    lines = [row if isinstance(row, bytes) else orjson.dumps(row) for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def questions(num: int = NUM_PROMPTS) -> list[dict[str, str]]:
    # Rows of 12 kB: the reader does not have the last ones in its buffer when the file changes.
    return [{"id": f"p{n}", "prompt": f"question {n} " + "word " * 2_400} for n in range(num)]


def collect_here(
    capsys: pytest.CaptureFixture[str], folder: Path, teacher: str = "fake:", *, out: str = "out"
) -> Ran:
    """The same command in this process, where nothing is to happen to it."""
    arguments = ("collect", folder / "prompts.jsonl", "--teacher", teacher, "--out", folder / out)
    return run_here(capsys, *arguments, "--json")


def collect(folder: Path, teacher: str = "fake:", **env: str) -> Ran:
    arguments = ("collect", "prompts.jsonl", "--teacher", teacher, "--out", "out", "--json")
    return run_there(*arguments, cwd=folder, **env)


def refusal_of(ran: Ran) -> str:
    """The message of a run that the user can mend."""
    assert ran.code == 2, ran
    document = orjson.loads(ran.err.splitlines()[-1])
    assert document["error"]["type"] != "ValueError"
    message = document["error"]["message"]
    assert isinstance(message, str)
    assert len(message.splitlines()) == 1
    assert "Traceback" not in ran.err
    return message


def texts_of(artifact: Artifact) -> dict[str, str]:
    check_files(artifact)
    return {row.prompt_id: row.text for row in artifact.rows("completions", Completion)}


async def slow_echo(number: int, body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(0.05)
    return web.json_response(chat_json(body["messages"][-1]["content"][:20].upper()))


def asked_of(server: LoopbackChat) -> Counter[str]:
    return Counter(body["messages"][-1]["content"] for body in server.bodies)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "b", "id": "first"}, "line 2: the id 'first' is that of line 1 as well"),
        ({"messages": []}, "line 2: the prompt is empty"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "line 2: the prompt is empty"),
        ({"messages": [{"role": "robot", "content": "b"}]}, "(got 'robot')"),
        (b'{"prompt": "\xff"}', "line 2 is not valid UTF-8 (byte 13"),
        (b'{"prompt": "\\ud83d"}', "without lone surrogates"),
        (b'{"prompt": "a\x00b"}', "line 2 is not JSON"),
        (b'{"messages": ' + b"[" * 2_000 + b"]" * 2_000 + b"}", "depth limit"),
        (b'{"prompt": "b", "id": ' + b"9" * 400 + b"}", "line 2 is not JSON"),
        (b'{"prompt": "b"}\r{"prompt": "c"}', "line 2 is not JSON"),
    ],
)
def test_a_wrong_row_is_one_line_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: Any, said: str
) -> None:
    write(tmp_path, {"prompt": "a", "id": "first"}, row)
    message = refusal_of(collect_here(capsys, tmp_path))
    assert "prompts.jsonl" in message
    assert said in message
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_a_file_in_utf16_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.jsonl").write_bytes('{"prompt": "a"}\n'.encode("utf-16"))
    assert "Save the file as UTF-8" in refusal_of(collect_here(capsys, tmp_path))


def test_only_newlines_end_rows_and_every_other_character_arrives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a\u2028b\u2029c\u0085d\x0be\x0cf", "\ufeffmark", "nul\x00 here", "\U0001f680"]
    rows = [orjson.dumps({"id": f"p{n}", "prompt": text}) for n, text in enumerate(texts)]
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(rows))  # a mark, CRLF, no end to the last line
    with LoopbackChat(slow_echo) as server:
        ran = collect_here(capsys, tmp_path, f"{server.url}#m")
    assert ran.code == 0, ran
    assert asked_of(server) == Counter(texts)
    artifact = open_artifact(tmp_path / "out")
    assert [row.messages[0].content for row in artifact.rows("prompts", Prompt)] == texts


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_prompt_of_five_megabytes_reaches_the_teacher_whole(tmp_path: Path, suffix: str) -> None:
    big = "w\u00f6rd " * 850_000
    path = tmp_path / f"prompts.{suffix}"
    path.write_bytes(
        f"prompt\nsmall\n{big}\n".encode()
        if suffix == "csv"
        else b"".join(orjson.dumps({"prompt": text}) + b"\n" for text in ("small", big))
    )
    with LoopbackChat(slow_echo) as server:
        arguments = ("collect", path.name, "--teacher", f"{server.url}#m", "--out", "out")
        ran = run_there(*arguments, "--quiet", cwd=tmp_path)
    assert ran.code == 0, ran
    assert asked_of(server) == Counter(["small", big])


def test_an_answer_of_fifty_megabytes_is_kept_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"id": "big", "prompt": "a"}, {"id": "after", "prompt": "b"})
    big = "0123456789" * 5_000_000

    async def respond(number: int, body: dict[str, Any]) -> web.StreamResponse:
        text = big if body["messages"][-1]["content"] == "a" else "small"
        return web.json_response(chat_json(text))

    with LoopbackChat(respond) as server:
        ran = collect_here(capsys, tmp_path, f"{server.url}#m")
        assert ran.code == 0, ran.err
    assert texts_of(open_artifact(tmp_path / "out")) == {"big": big, "after": "small"}


def grown(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(orjson.dumps({"id": "late", "prompt": "question late"}) + b"\n")


def shrunk(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"question 5", b"QUESTION 5"))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(orjson.dumps({"id": "p0", "prompt": "another file"}) + b"\n")
    other.replace(path)


@pytest.mark.parametrize("change", [grown, shrunk, edited, replaced, Path.unlink])
def test_a_file_that_changes_under_a_run_is_told_and_nothing_is_lost_or_asked_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None]
) -> None:
    path = write(tmp_path, *questions())
    original = path.read_bytes()
    with LoopbackChat(slow_echo) as server:
        process = start(
            *("collect", "prompts.jsonl", "--teacher", f"{server.url}#m", "--out", "out"),
            *("--set", "access.concurrency=2", "--json"),
            cwd=tmp_path,
        )
        while not server.bodies:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        change(path)
        out, err = process.communicate(timeout=60)
        message = refusal_of(Ran(process.returncode, out, err))
        assert "prompts.jsonl" in message
        assert not (tmp_path / "out" / "manifest.json").exists()
        path.write_bytes(original)
        ran = collect_here(capsys, tmp_path, f"{server.url}#m")
    assert ran.code == 0, ran.err
    assert set(texts_of(open_artifact(tmp_path / "out"))) == {f"p{n}" for n in range(NUM_PROMPTS)}
    assert set(asked_of(server).values()) == {1}


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[int], None]]:
    """A file system of its own at `folder`; what is given can make it larger."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if not LINUX_ROOT or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")

    def grow(to_kilobytes: int) -> None:
        options = f"remount,size={to_kilobytes}k"
        subprocess.run(["mount", "-o", options, str(folder)], check=True)

    try:
        yield grow
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [100, 300])
def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_space(
    tmp_path: Path, kilobytes: int
) -> None:
    rows = [{"id": f"p{n}", "prompt": random.Random(n).randbytes(1_500).hex()} for n in range(120)]
    with small_disk(tmp_path / "disk", kilobytes) as grow, LoopbackChat(slow_echo) as server:
        where = tmp_path / "disk"
        (tmp_path / "prompts.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
        arguments = ("collect", "../prompts.jsonl", "--teacher", f"{server.url}#m", "--json")
        ran = run_there(*arguments, "--out", "out", cwd=where)
        message = refusal_of(ran)
        assert "disk is full" in message or "No space left on device" in message
        assert "ledger.sqlite" in message or ".work" in message
        grow(20_000)
        ran = run_there(*arguments, "--out", "out", cwd=where)
        assert ran.code == 0, ran.err
        assert set(texts_of(open_artifact(where / "out"))) == {row["id"] for row in rows}
        # Asked again is at most what was on its way when there was no space to write it down.
        listed = ran.json()["results"]["calls_maybe_paid"]
        assert len(server.bodies) <= len(rows) + len(listed)
        assert len(listed) <= 2 * 16


def test_a_disk_that_is_full_for_the_artefact_alone_costs_no_answer(tmp_path: Path) -> None:
    rows = [{"id": f"p{n}", "prompt": random.Random(n).randbytes(1_500).hex()} for n in range(60)]
    write(tmp_path, *rows)
    with small_disk(tmp_path / "disk", 60) as grow, LoopbackChat(slow_echo) as server:
        arguments = ("collect", "prompts.jsonl", "--teacher", f"{server.url}#m", "--json")
        arguments += ("--ledger", "ledger.sqlite", "--out", "disk/out")
        message = refusal_of(run_there(*arguments, cwd=tmp_path))
        assert "No space left on device" in message
        assert not (tmp_path / "disk" / "out" / "manifest.json").exists()
        grow(20_000)
        ran = run_there(*arguments, cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert set(texts_of(open_artifact(tmp_path / "disk" / "out"))) == {r["id"] for r in rows}
    assert len(server.bodies) == len(rows)


@contextmanager
def read_only_file(path: Path) -> Iterator[None]:
    """A file that not even root may write."""
    made = subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False)
    if not LINUX_ROOT or made.returncode:
        pytest.skip("needs the right to make a file immutable")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


@contextmanager
def read_only_folder(folder: Path) -> Iterator[Path]:
    """The folder once more, at a place where not even root may write."""
    seen = folder.with_name("read-only")
    seen.mkdir()
    bound = subprocess.run(["mount", "--bind", folder, seen], capture_output=True, check=False)
    if not LINUX_ROOT or bound.returncode:
        pytest.skip("needs the right to mount a folder")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", seen], check=True)
        yield seen
    finally:
        subprocess.run(["umount", seen], check=True)


def test_a_read_only_ledger_is_told_and_nobody_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Ledger(tmp_path / "ledger.sqlite").close()
    write(tmp_path, *questions(3))
    with LoopbackChat(slow_echo) as server, read_only_file(tmp_path / "ledger.sqlite"):
        message = refusal_of(collect_here(capsys, tmp_path, f"{server.url}#m"))
    assert "ledger.sqlite" in message
    assert "writable" in message
    assert not server.bodies


@pytest.mark.parametrize("has_ledger", [True, False])
def test_a_read_only_folder_is_told_and_nobody_is_asked(tmp_path: Path, has_ledger: bool) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    write(folder, *questions(3))
    if has_ledger:
        Ledger(folder / "ledger.sqlite").close()
    with LoopbackChat(slow_echo) as server, read_only_folder(folder) as seen:
        message = refusal_of(collect(seen, f"{server.url}#m"))
    assert "ledger.sqlite" in message
    assert not server.bodies


def test_a_ledger_of_another_version_is_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    run_sql(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    write(tmp_path, *questions(3))
    message = refusal_of(collect_here(capsys, tmp_path))
    assert "is a ledger of version 99; this stillhouse reads" in message
    assert path.read_bytes() == before


def test_every_damaged_page_of_a_ledger_is_told_or_does_no_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, *({"id": f"p{n}", "prompt": os.urandom(400).hex()} for n in range(20)))
    with LoopbackChat(slow_echo) as server:
        teacher = f"{server.url}#m"
        assert collect_here(capsys, tmp_path, teacher).code == 0
        good = texts_of(open_artifact(tmp_path / "out"))
        path = tmp_path / "ledger.sqlite"
        sound = path.read_bytes()
        num_pages = len(sound) // 4096
        assert num_pages > 8
        verdicts = Counter[int]()
        for page in random.Random(3).sample(range(1, num_pages), 4):
            damaged = bytearray(sound)
            damaged[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
            path.write_bytes(damaged)
            ran = collect_here(capsys, tmp_path, teacher, out=f"out{page}")
            verdicts[ran.code] += 1
            if ran.code == 0:
                assert texts_of(open_artifact(tmp_path / f"out{page}")) == good
            else:
                message = refusal_of(ran)
                assert "ledger.sqlite" in message or "damaged" in message
            for extra in (path.with_name(path.name + end) for end in ("-wal", "-shm")):
                extra.unlink(missing_ok=True)
    assert verdicts[2] >= 2


class MistakenTeacher(FakeTeacher):
    """A fake that answers one prompt under the id of a request that nobody made."""

    def _answer(self, request: Request) -> Answer:
        answer = super()._answer(request)
        return replace(answer, request_id="f" * 64) if request.prompt_id == "p3" else answer


def test_an_answer_under_another_id_is_told_and_the_others_are_kept(tmp_path: Path) -> None:
    prompts = [
        Prompt(id=f"p{n}", messages=(Message(role="user", content=f"River {n}"),)) for n in range(6)
    ]
    out, teacher = tmp_path / "out", MistakenTeacher(FakeOptions(parallel=1))
    with pytest.raises(IntegrityError, match="no open call of it was recorded") as caught:
        collect_in_process(prompts, out, teacher=teacher, config=CollectConfig())
    assert len(str(caught.value).splitlines()) == 1
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        before = ledger.totals()
    assert (before.num_answered, before.num_failed) == (3, 0)
    artifact = collect_in_process(prompts, out, teacher=FakeTeacher(), config=CollectConfig())
    assert set(texts_of(artifact)) == {prompt.id for prompt in prompts}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert (ledger.totals().num_answered, ledger.totals().num_lost) == (6, 1)


# A clock that leaps between three days ahead and three back as it is read, and is never right:
# answers of one commit share one reading. The process finds it before ours.
LEAPING_CLOCK = """
import random, time
_time, _time_ns, _leap = time.time, time.time_ns, random.Random(7)
def _days(): return _leap.choice((-3, 3)) * 86_400
time.time = lambda: _time() + _days()
time.time_ns = lambda: _time_ns() + _days() * 10**9
"""


def test_a_clock_that_leaps_loses_nothing_and_has_nothing_asked_twice(tmp_path: Path) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(LEAPING_CLOCK)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "clock"), *sys.path])}
    rows = questions()
    write(tmp_path, *rows)
    with LoopbackChat(slow_echo) as server:
        arguments = ("collect", "prompts.jsonl", "--teacher", f"{server.url}#m", "--out", "out")
        both = [start(*arguments, "--json", cwd=tmp_path, env=env) for _ in range(2)]
        ended = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert asked_of(server) == Counter(row["prompt"] for row in rows)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
        sent = {call.sent_utc.date() for call in ledger.lost_calls()}
    assert (totals.num_answered, totals.num_calls, sent) == (NUM_PROMPTS, NUM_PROMPTS, set())
    artifact = open_artifact(tmp_path / "out")
    assert set(texts_of(artifact)) == {row["id"] for row in rows}
    # The clock was no honest one: the rows say so.
    now = datetime.now(UTC)
    off = [abs(now - row.created_utc).days for row in artifact.rows("completions", Completion)]
    assert min(off) >= 2
