"""The access log of a server: what `watch` reads, without a prompt or a key in it."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from serve_cases import RunningServer
from traffic_cases import reference

from stillhouse.errors import ConfigError
from stillhouse.records import Message
from stillhouse.serve import Answering, Ask, Piece
from stillhouse.serve._guard import prompt_of
from stillhouse.traffic import (
    AccessLogConfig,
    Featuriser,
    TrafficKey,
    open_access_log,
    open_traffic_key,
    read_table,
)

CHAT = "/v1/chat/completions"


class Echo:
    """Says one word."""

    name = "echo"
    num_running = 0

    async def open(self, ask: Ask) -> Answering:
        async def pieces() -> AsyncIterator[Piece]:
            yield Piece(0, "word", (), "stop", 1)

        return Answering(7, pieces())

    async def close(self) -> None:
        return


def config(tmp_path: Path, **given: Path) -> AccessLogConfig:
    return AccessLogConfig(folder=tmp_path / "access", key=tmp_path / "key.json", **given)


def ask(server: RunningServer, text: str, key: str) -> int:
    body = {"messages": [{"role": "user", "content": text}]}
    return server.send(CHAT, body, headers={"authorization": f"Bearer {key}"})[0]


def test_what_is_logged_can_be_watched_and_holds_no_text(tmp_path: Path) -> None:
    keys = ("key-of-anna", "key-of-ben")
    with RunningServer(Echo(), access_log=config(tmp_path), keys=keys) as server:
        for number in range(4):
            assert ask(server, f"confidential merger {number}", keys[number % 2]) == 200
        assert ask(server, "confidential", "another") == 401
    files = list((tmp_path / "access").glob("*.jsonl"))
    text = "".join(path.read_text() for path in files)
    assert not any(word in text for word in ("confidential", "merger", *keys))
    log = open_access_log(tmp_path / "access")
    key = open_traffic_key(tmp_path / "key.json")
    table = read_table(log, Featuriser(key))
    assert (log.num_rows, log.num_malformed) == (4, 0)
    assert len(table.accounts) == 2
    assert table.account_N.tolist() == [0, 1, 0, 1]
    assert (table.words_N == 3).all()
    rows = [json.loads(line) for line in text.splitlines()]
    assert {row["prompt_tokens"] for row in rows} == {7}
    assert {row["completion_tokens"] for row in rows} == {1}


def test_metrics_count_rows_and_name_nobody(tmp_path: Path) -> None:
    with RunningServer(Echo(), access_log=config(tmp_path)) as server:
        server.ask(CHAT, messages=[{"role": "user", "content": "hello"}])
        for _ in range(100):
            page = server.send("/metrics")[2].decode()
            if "stillhouse_access_rows_total 1\n" in page:
                break
            time.sleep(0.05)
    assert "stillhouse_access_rows_total 1\n" in page
    assert "stillhouse_access_flagged_accounts" not in page


def test_a_reference_of_another_key_is_refused(tmp_path: Path) -> None:
    usual = tmp_path / "usual.json"
    reference().save(usual)
    with pytest.raises(ConfigError, match="was made under key"):
        RunningServer(Echo(), access_log=config(tmp_path, reference=usual)).__enter__()


def test_what_the_student_said_is_no_part_of_the_prompt() -> None:
    messages = tuple(
        Message(role=role, content=content)
        for role, content in (("system", "be kind"), ("user", "one"), ("assistant", "two"))
    )
    assert prompt_of(Ask(messages=messages)) == "be kind\none"
    assert prompt_of(Ask(text="go on")) == "go on"
    assert TrafficKey(bytes(32)).account("a") != "a"
