"""`stillhouse arena` as a user types it: text, JSON, exit codes, and a kill in the middle."""

import asyncio
import html
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from aiohttp import web
from arena_hall import Ruler, Writer, message
from cli_process import Ran
from loopback_chat import LoopbackChat, chat_json
from typer.main import get_command

from stillhouse.cli._arena import arena, named_models
from stillhouse.cli._main import run_command
from stillhouse.errors import ConfigError
from stillhouse.evaluate import read_arena_results
from stillhouse.records import Prompt, Request, Sampling

STRENGTHS = {"good": 1.2, "fair": 0.0, "poor": -1.2}
NUM_PROMPTS = 12
# In a process of its own, whatever commands the installed one has.
ALONE = "import sys; sys.path.insert(0, {here!r}); from test_cli_arena import command_group as g; "
ALONE += "from stillhouse.cli._main import run_command; "
ALONE += "sys.exit(run_command(sys.argv[1:], command=g()))"


def command_group() -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    app.command("arena")(arena)
    return get_command(app)


def answer_of(name: str, content: str) -> str:
    prompt = Prompt(id="any", messages=(message(content),))
    request = Request.of(prompt, teacher=name, sampling=Sampling())
    return Ruler()(request) if name == "judge" else Writer(name, STRENGTHS[name])(request)


async def respond(number: int, body: dict[str, Any]) -> web.StreamResponse:
    text = answer_of(body["model"], body["messages"][-1]["content"])
    return web.json_response(chat_json(text) | {"model": body["model"]})


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackChat]:
    with LoopbackChat(respond) as server:
        yield server


def write_prompts(folder: Path, count: int = NUM_PROMPTS) -> Path:
    path = folder / "prompts.jsonl"
    rows = [{"prompt": f"Question {number}?", "split": "held_out"} for number in range(count)]
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    return path


def words(server: LoopbackChat, folder: Path, *more: str) -> list[str]:
    models = [word for name in STRENGTHS for word in ("--model", f"{name}={server.url}#{name}")]
    prompts = folder / "prompts.jsonl"
    out = folder / "arena"
    return [
        "arena",
        str(prompts),
        *models,
        "--judge",
        f"{server.url}#judge",
        "--out",
        str(out),
        *more,
    ]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    capsys.readouterr()
    code = run_command(arguments, command=command_group())
    out, err = capsys.readouterr()
    return Ran(code, out, err)


def test_the_ranking_is_printed_and_the_report_named(
    capsys: pytest.CaptureFixture[str], server: LoopbackChat, tmp_path: Path
) -> None:
    write_prompts(tmp_path)
    ran = run(capsys, *words(server, tmp_path))
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert "on 12 held-out prompts" in lines[0]
    ranked = [line.split()[0] for line in lines[3:6]]
    assert ranked == [*STRENGTHS]
    assert "12 prompts, 36 pairs judged by http:judge@localhost" in ran.out
    assert "note: The judge is not validated" in ran.out
    report = tmp_path / "arena" / "evaluation" / "report.html"
    assert ran.err.endswith(f"next: open {report} in a browser\n")
    assert "judge: 72/72 verdicts" in ran.err


def test_the_report_names_a_command_that_gives_the_same(
    capsys: pytest.CaptureFixture[str], server: LoopbackChat, tmp_path: Path
) -> None:
    write_prompts(tmp_path)
    more = ["--title", "My three", "--max-pairs", "30", "--set", "judge_sampling.top_p=0.9"]
    first = run(capsys, *words(server, tmp_path, *more, "--json"))
    report = (tmp_path / "arena" / "evaluation" / "report.html").read_text()
    told = report.split("<code>stillhouse arena")[1].split("</code>")[0]
    num_before = len(server.bodies)
    again = run(capsys, "arena", *shlex.split(html.unescape(told)), "--json")
    assert (again.code, again.json()) == (0, first.json())
    assert len(server.bodies) == num_before


def test_json_is_one_document_with_the_verdict(
    capsys: pytest.CaptureFixture[str], server: LoopbackChat, tmp_path: Path
) -> None:
    write_prompts(tmp_path)
    ran = run(capsys, *words(server, tmp_path, "--json", "--quiet"))
    assert (ran.code, ran.err) == (0, "")
    document = json.loads(ran.out)
    assert (document["kind"], document["stage"]) == ("evaluation", "arena")
    assert [one["name"] for one in document["results"]["models"]] == [*STRENGTHS]
    assert document["results"]["judge_is_validated"] is False


def test_labelled_pairs_are_read_and_a_second_arena_needs_force(
    capsys: pytest.CaptureFixture[str], server: LoopbackChat, tmp_path: Path
) -> None:
    write_prompts(tmp_path)
    assert run(capsys, *words(server, tmp_path)).code == 0
    rows = [
        {"prompt": f"L{n}?", "a": "quality=1", "b": "quality=2", "winner": "b" if n % 3 else "a"}
        for n in range(12)
    ]
    gold = tmp_path / "labels.jsonl"
    gold.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    refused = run(capsys, *words(server, tmp_path, "--gold", str(gold)))
    assert refused.code == 2
    assert "--force" in refused.err
    num_before = len(server.bodies)
    ran = run(capsys, *words(server, tmp_path, "--gold", str(gold), "--force"))
    assert ran.code == 0, ran.err
    assert len(server.bodies) - num_before == 24
    results = read_arena_results(tmp_path / "arena" / "evaluation" / "results.json")
    assert results.judge.agreements[0].agreement.value == pytest.approx(8 / 12)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["p.jsonl", "--model", "a=fake:", "--judge", "fake:"], ["1 models", "at least two"]),
        (["p.jsonl", "--model", "fake:", "--judge", "fake:"], ["'fake:' has no name", "NAME=SPEC"]),
        (
            ["p.jsonl", "--model", "fake:?parallel=2", "--judge", "fake:"],
            ["'fake:?parallel=2' has no name"],
        ),
        (
            ["p.jsonl", "--model", "a=fake:", "--model", "a=local:", "--judge", "fake:"],
            ["Two models are called 'a'"],
        ),
        (
            ["none.jsonl", "--model", "a=fake:", "--judge", "fake:"],
            ["none.jsonl", "does not exist"],
        ),
        (["p.jsonl", "--judge", "fake:"], ["--model"]),
        (["p.jsonl", "--model", "a=fake:"], ["--judge"]),
        (
            ["p.jsonl", "--model", "a=fake:", "--judge", "fake:", "--set", "max_pair=3"],
            ["max_pair", "Did you mean max_pairs?"],
        ),
        (
            ["p.jsonl", "--model", "a=fake:", "--judge", "fake:", "--set", "access.budget=3"],
            ["access.budget", "budget_usd"],
        ),
        (
            [
                "p.jsonl",
                "--model",
                "a=fake:",
                "--judge",
                "http://127.0.0.1:9/v1#m",
                "--budget",
                "1",
            ],
            ["A budget is set", "http:m@localhost", "price"],
        ),
    ],
)
def test_mistakes_are_one_line_with_what_was_given_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(tmp_path).rename(tmp_path / "p.jsonl")
    ran = run(capsys, "arena", *arguments, "--quiet", "--json")
    assert (ran.code, ran.out) == (2, "")
    message = json.loads(ran.err)["error"]["message"]
    assert [part for part in parts if part not in message] == []
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]


def test_models_are_named_before_the_first_equals_sign() -> None:
    given = ["a=fake:?parallel=2", "b=https://host/v1#m=1"]
    assert named_models(given) == {"a": "fake:?parallel=2", "b": "https://host/v1#m=1"}
    with pytest.raises(ConfigError, match="has no name"):
        named_models(["=fake:"])


def start(server: LoopbackChat, folder: Path) -> "subprocess.Popen[str]":
    here = str(Path(__file__).parent)
    code = [sys.executable, "-c", ALONE.format(here=here)]
    return subprocess.Popen(
        [*code, *words(server, folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": here},
    )


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_arena_asks_nothing_twice_that_was_answered(
    tmp_path: Path, how: signal.Signals
) -> None:
    """Stopped in the middle of the judging; what was on its way at a kill may be asked again."""
    is_slow = True

    async def slowly(number: int, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.05 if is_slow and body["model"] == "judge" else 0.0)
        return await respond(number, body)

    write_prompts(tmp_path, count=20)
    with LoopbackChat(slowly) as server:
        child = start(server, tmp_path)
        deadline = time.monotonic() + 60
        while sum(body["model"] == "judge" for body in server.bodies) < 50:
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        child.send_signal(how)
        _, errors = child.communicate(timeout=30)
        assert child.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), errors
        is_slow = False
        again = start(server, tmp_path)
        _, errors = again.communicate(timeout=60)
        assert again.returncode == 0, errors
        asked = Counter((one["model"], one["messages"][-1]["content"]) for one in server.bodies)
    assert len(asked) == 3 * 20 + 2 * 3 * 20
    repeated = [key for key, times in asked.items() if times > 1]
    assert all(model == "judge" for model, _ in repeated)
    assert max(asked.values()) <= 2
    # No more than what a teacher of a URL has in hand at once.
    assert len(repeated) <= 2 * 16
    assert (tmp_path / "arena" / "evaluation" / "report.html").is_file()
