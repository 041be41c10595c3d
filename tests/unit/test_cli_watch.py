"""`stillhouse watch`: fit, find, and say so for people and programs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from cli_process import run_here
from serve_cases import RunningServer
from test_serve_access_log import Echo
from traffic_cases import rows_of, simulator

from stillhouse.servicelog import LogConfig
from stillhouse.traffic import AccessRow, read_appeal, read_responses


def write(path: Path, rows: Iterable[AccessRow]) -> Path:
    lines = (json.dumps(one.model_dump(mode="json", exclude_none=True)) for one in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    benign, other = simulator("fit", seed=1), simulator("test", seed=3)
    write(folder / "usual.jsonl", rows_of(benign, benign.benign(150)))
    accounts = other.benign(60) + other.mixed(25, num_requests=22, share=1.0)
    path = write(folder / "access.jsonl", rows_of(other, accounts))
    with path.open("a", encoding="utf-8") as stream:
        stream.write("no row\n")
    return folder


def test_a_log_is_fitted_and_another_is_watched(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, usual = tmp_path / "key.json", tmp_path / "usual.json"
    fitted = run_here(capsys, "watch", logs / "usual.jsonl", "--key", key, "--fit", usual, "--json")
    assert fitted.code == 0, fitted.err
    assert fitted.json()["num_accounts"] == 150
    asked = ("watch", logs / "access.jsonl", "--key", key, "--reference", usual)
    answers = tmp_path / "responses.json"
    written_to = ("--appeals", tmp_path / "appeals", "--responses", answers)
    found = run_here(capsys, *asked, *written_to, "--json")
    assert found.code == 0, found.err
    document = found.json()
    assert document["num_malformed"] == 1
    assert document["num_accounts"] == 85
    records = sorted((tmp_path / "appeals").glob("*.json"))
    assert len(records) == len(document["accounts"]) > 0
    listed = {one.account: one.step for one in read_responses(answers).accounts}
    assert listed == {one["account"]: one["step"] for one in document["accounts"]}
    assert sum(document["responses"]["num_accounts"].values()) == len(listed)
    cleared = clear_one(capsys, min(listed), answers, tmp_path / "appeals")
    assert cleared["step"] == listed[min(listed)]
    told = run_here(capsys, *asked, *written_to)
    assert "; 1 cleared" in told.out
    assert {one.account for one in read_responses(answers).accounts} == listed.keys() - {
        min(listed)
    }
    record = read_appeal(tmp_path / "appeals" / f"{min(listed)}.json")
    assert [one.reason for one in record.clearings] == ["the red team"]
    assert "1 lines were no requests" in told.out
    assert "customer_key" in told.out
    written = "".join(path.read_text() for path in (*records, usual)) + found.out + told.out
    first = json.loads((logs / "access.jsonl").read_text().splitlines()[0])
    assert first["account"] not in written
    assert max(first["prompt"].split(), key=len) not in written
    assert run_here(capsys, *asked, "--quiet").out == ""


def clear_one(
    capsys: pytest.CaptureFixture[str], account: str, answers: Path, appeals: Path
) -> Any:
    asked = ("clear-account", account, "--responses", answers, "--reason", "the red team")
    told = run_here(capsys, *asked)
    assert told.code == 0, told.err
    assert f"{account} was answered with" in told.out
    assert run_here(capsys, *asked, "--quiet").out == ""
    ran = run_here(capsys, *asked, "--appeals", appeals, "--json")
    assert ran.json()["record"] == str(appeals / f"{account}.json")
    return {**ran.json(), "step": told.out.split("answered with ")[1].split(",")[0]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["f" * 16, "--reason", "x"], "none.json cannot be read"),
        (["anna", "--reason", "x"], "none.json cannot be read"),
        (["f" * 16, "--reason", "x", "--appeals", "none"], "f.json cannot be read"),
        (["f" * 16, "--reason", "x", "--days", "0"], "--days"),
        (["f" * 16], "--reason"),
    ],
)
def test_nobody_is_cleared_by_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    ran = run_here(capsys, "clear-account", "--responses", tmp_path / "none.json", *options)
    assert ran.code == 2
    assert words in ran.err
    assert list(tmp_path.iterdir()) == []


def test_the_log_of_answers_is_told_from_an_access_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = {"messages": [{"role": "user", "content": "hello"}]}
    with RunningServer(Echo(), log=LogConfig(folder=tmp_path / "served")) as server:
        server.ask("/v1/chat/completions", **message)
    asked = ("--key", tmp_path / "key.json", "--fit", tmp_path / "usual.json")
    ran = run_here(capsys, "watch", tmp_path / "served", *asked)
    assert ran.code == 2
    assert "is of a log of answers (serve --log), which has no accounts" in ran.err
    assert "serve --access-log" in ran.err
    assert ran.err.count("\n") == 1
    assert "hello" not in ran.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--reference FILE, or --fit FILE"),
        (["--fit", "a", "--reference", "b"], "Give one"),
        (["--fit", "a", "--appeals", "b"], "Leave --appeals out"),
        (["--fit", "a", "--responses", "b"], "Leave --responses out"),
        (["--reference", "none.json"], "none.json cannot be read"),
        (["--reference", "b", "--set", "log_rate=0.01"], "must not rise"),
        (["--reference", "b", "--set", "colour=red"], "colour"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    logs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    key = tmp_path / "key.json"
    ran = run_here(capsys, "watch", logs / "access.jsonl", "--key", key, *options)
    assert ran.code == 2
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_logs_that_cannot_be_read_have_their_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, log = tmp_path / "key.json", tmp_path / "access.jsonl"
    asked = ("watch", log, "--key", key, "--fit", tmp_path / "usual.json")
    assert run_here(capsys, *asked).code == 2  # none
    log.write_text("")
    empty = run_here(capsys, *asked)
    assert (empty.code, "holds no request" in empty.err) == (2, True)
    row = '{"id": "%d", "at": "2026-06-01T00:00:00Z", "account": "a", "prompt": "b"}\n'
    log.write_text(row % 1 + "x\n")
    assert run_here(capsys, *asked).code == 3  # more lines are no rows than may be
    log.write_text("".join(row % n for n in range(90)))
    one = run_here(capsys, *asked)
    assert (one.code, "1 accounts" in one.err) == (2, True)
    assert not (tmp_path / "usual.json").exists()
