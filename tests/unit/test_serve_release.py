"""A deployment in service: the pointer moves, and no request is lost."""

import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from certify_cases import bank_rows
from cli_process import start
from fit_cases import LABELS
from serve_cases import RunningServer

from stillhouse.errors import ConfigError
from stillhouse.releases import Deployment
from stillhouse.runlog import Ledger
from stillhouse.serve import Answering, Ask, Piece, ServeConfig, TeacherConfig, open_engine
from stillhouse.serve._switching import SwitchingEngine

CHAT = "/v1/chat/completions"
ROWS = bank_rows(1200, held_out=600)
TEXTS = [row.text for row in ROWS if row.split == "held_out"]


@pytest.fixture
def deployment(bank_folder: Path, tmp_path: Path) -> Deployment:
    found = Deployment(tmp_path / "bank")
    for name in ("cascade", "second"):
        found.promote(found.add(bank_folder / name).id)
    return found


class SlowEngine:
    """Says its name in two halves, the second when it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_running = 0
        self.is_closed = False
        self.go_on = threading.Event()

    async def open(self, ask: Ask) -> Answering:
        assert not self.is_closed
        return Answering(1, self._pieces())

    async def _pieces(self) -> AsyncIterator[Piece]:
        import asyncio

        yield Piece(0, f"{self.name}, ")
        while not self.go_on.is_set():
            await asyncio.sleep(0.005)
        assert not self.is_closed
        yield Piece(0, "to the end", (), "stop", 4)

    async def close(self) -> None:
        self.is_closed = True


def until(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def version_of(server: RunningServer, text: str = TEXTS[0]) -> str:
    body = {"messages": [{"role": "user", "content": text}]}
    status, headers, raw = server.send(CHAT, body)
    assert status == 200, raw
    return headers["x-stillhouse-version"]


def test_what_a_version_began_it_ends_and_then_it_is_closed() -> None:
    engines = {name: SlowEngine(name) for name in ("one", "two")}
    pointer = ["one"]
    engine = SwitchingEngine(
        "one", engines["one"], current=lambda: pointer[0], open_version=lambda name: engines[name]
    )
    with RunningServer(engine) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
        connection.request("POST", CHAT, json.dumps(body))
        response = connection.getresponse()
        lines = [response.readline() for _ in range(3)]
        assert b"one" in lines[2]
        pointer[0] = "two"
        engine.look_now()
        until(lambda: engine.version == "two")
        engines["two"].go_on.set()
        assert version_of(server, "x") == "two"
        assert not engines["one"].is_closed
        engines["one"].go_on.set()
        rest = response.read()
        assert b"to the end" in rest
        assert b"[DONE]" in rest
        connection.close()
        until(lambda: engines["one"].is_closed)
        assert not engines["two"].is_closed
    assert engines["two"].is_closed


def test_a_version_that_cannot_be_opened_changes_nothing() -> None:
    one, pointer, tried = SlowEngine("one"), ["one"], []
    one.go_on.set()

    def opened(name: str) -> SlowEngine:
        tried.append(name)
        raise ConfigError("it is broken")

    engine = SwitchingEngine("one", one, current=lambda: pointer[0], open_version=opened)
    with RunningServer(engine) as server:
        assert version_of(server, "x") == "one"
        pointer[0] = "broken"
        engine.look_now()
        until(lambda: tried == ["broken"])
        assert version_of(server, "x") == "one"
        report = json.loads(server.send("/v1/stillhouse/release")[2])
        assert report["refused"] == "broken"
        page = server.send("/metrics")[2].decode()
        assert "stillhouse_release_refused_total 1\n" in page
        assert tried == ["broken"]  # not again at every look
        engine.look_now()
        until(lambda: len(tried) == 2)


def test_a_promotion_under_load_loses_no_request(deployment: Deployment) -> None:
    first, second = deployment.standing().stack
    engine = open_engine(str(deployment.folder), ServeConfig(), teacher="fake:")
    found: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        place = 0
        while not is_over.is_set():
            found.append(version_of(server, TEXTS[place % len(TEXTS)]))
            place += 1

    with RunningServer(engine) as server:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in (first, second, first):
            deployment.promote(version)
            engine.look_now()  # type: ignore[attr-defined]
            until(lambda wanted=version: found[-1:] == [wanted[:12]])  # type: ignore[misc]
        is_over.set()
        for thread in threads:
            thread.join()
    assert set(found) == {first[:12], second[:12]}
    with Ledger(deployment.folder / "ledger.sqlite") as ledger:
        assert ledger.totals().num_open == 0
        assert ledger.totals().num_failed == 0


def test_a_damaged_version_leaves_the_one_in_service(deployment: Deployment) -> None:
    first, second = deployment.standing().stack
    engine = open_engine(str(deployment.folder), ServeConfig(), teacher="fake:")
    rule = deployment.folder / "versions" / first / "served" / "rule.json"
    with RunningServer(engine) as server:
        deployment.promote(first)
        raw = rule.read_bytes()
        rule.chmod(0o644)
        rule.write_bytes(raw.replace(b"0.", b"1.", 1))
        assert version_of(server) == second[:12]  # the first request begins to look
        engine.look_now()  # type: ignore[attr-defined]
        until(lambda: json.loads(server.send("/v1/stillhouse/release")[2])["refused"] == first)
        assert version_of(server) == second[:12]


def test_a_breach_takes_the_version_back_where_that_is_asked_for(deployment: Deployment) -> None:
    from stillhouse.cascade import WatchStatus
    from stillhouse.serve._release import _Opener

    first, second = deployment.standing().stack
    status = WatchStatus.model_validate(
        {
            "state": "fallen_back",
            "cause": "breach",
            "counts": {"requests": 900, "by_student": 800, "audits": 20, "loss": 9.0},
            "escalation": 0.1,
            "audited_loss": 0.45,
            "tolerated_loss": 0.15,
            "drift_evidence": 0.1,
            "breach_evidence": 1.0,
        }
    )
    for on_breach, version, expected in (
        ("teacher", second, second),
        ("rollback", first, second),  # not the one in service
        ("rollback", second, first),
        ("rollback", first, first),  # nothing is before it
    ):
        opener = _Opener(deployment, ServeConfig(), None, None, on_breach)  # type: ignore[arg-type]
        opener._falling(version)(status)
        assert deployment.current_id() == expected
    change = deployment.standing().history[-1]
    assert (change.action, change.who) == ("rollback", "stillhouse serve")
    assert change.why == "breach: mean loss 0.4500 of 20 audits"
    drifted = status.model_copy(update={"cause": "drift"})
    deployment.promote(second)
    _Opener(deployment, ServeConfig(), None, None, "rollback")._falling(second)(drifted)
    assert deployment.current_id() == second


def test_a_plain_student_may_be_a_version(bank_folder: Path, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "bank")
    deployment.promote(deployment.add(bank_folder / "student").id)
    with RunningServer(open_engine(str(deployment.folder), ServeConfig())) as server:
        assert server.ask("/v1/decisions", input=TEXTS[0])["choice"] in LABELS
        assert server.ask(CHAT, messages=[{"role": "user", "content": TEXTS[0]}])["model"] == "bank"
        second = deployment.add(bank_folder / "cascade")
        deployment.promote(second.id)
        engine = server.server.engine
        engine.look_now()  # type: ignore[attr-defined]
        until(lambda: json.loads(server.send("/v1/stillhouse/release")[2])["refused"] == second.id)
    with pytest.raises(ConfigError, match="is a cascade"):
        open_engine(str(deployment.folder), ServeConfig())
    with pytest.raises(ConfigError, match="--memory"):
        open_engine(
            str(deployment.folder), ServeConfig(), teacher="fake:", memory=tmp_path / "m.json"
        )


def test_the_command_switches_at_a_hangup(deployment: Deployment) -> None:
    first, second = deployment.standing().stack
    process = start(
        "serve",
        deployment.folder,
        "--teacher",
        "fake:",
        "--port",
        "0",
        "--json",
        cwd=deployment.folder.parent,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1].rstrip() != "}":
            assert lines[-1]
            lines.append(process.stdout.readline())
        port = int(json.loads("".join(lines))["url"].rpartition(":")[2])

        def version() -> str:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            body: dict[str, Any] = {"messages": [{"role": "user", "content": TEXTS[0]}]}
            connection.request("POST", CHAT, json.dumps(body))
            found = connection.getresponse()
            assert found.status == 200
            connection.close()
            return found.headers["x-stillhouse-version"]

        assert version() == second[:12]
        deployment.rollback()
        import signal

        process.send_signal(signal.SIGHUP)
        until(lambda: version() == first[:12])
        process.terminate()
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
    finally:
        process.kill()


def test_a_budget_holds_over_versions(deployment: Deployment) -> None:
    config = TeacherConfig(spec="fake:", budget_usd=0.5)
    engine = open_engine(str(deployment.folder), ServeConfig(), teacher=config)
    with RunningServer(engine) as server:
        assert version_of(server) == deployment.current().id[:12]
