"""The proxy as a command: how it begins, how it is stopped, and what a kill leaves."""

import http.client
import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_process import run_here, start
from mock_calls import PATHS, ask, body_of, call
from proxy_cases import CALLERS_KEY, OUR_KEY, is_free, wait_until
from tests.mock_provider import MockProvider

from stillhouse.collect._proxy._upstream import Upstream
from stillhouse.runlog import Ledger

NUM_CALLERS = 12


class Running:
    """A proxy in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said = ""
        assert process.stderr is not None
        while "Ctrl-C stops" not in self.said:
            line = process.stderr.readline()
            assert line, self.said
            self.said += line
        found = re.search(r"listening at http://127\.0\.0\.1:(\d+) for", self.said)
        assert found is not None
        self.port = int(found[1])

    def stop(self, number: int = signal.SIGINT) -> dict[str, Any]:
        """Ask it to stop, and what it printed on its way out."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        self.said += err
        assert self.process.returncode == 0, err
        return json.loads(out)  # type: ignore[no-any-return]


@contextmanager
def running(
    mock: MockProvider, folder: Path, *arguments: str, key: str = OUR_KEY
) -> Iterator[Running]:
    env = {"OPENAI_BASE_URL": mock.base_url("openai_chat"), "OPENAI_API_KEY": key}
    process = start(
        "proxy", "--to", "openai", "--port", "0", "--json", *arguments, cwd=folder, env=env
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_calls_end_and_then_gives_the_counts(
    mock: MockProvider, tmp_path: Path, number: int
) -> None:
    with running(mock, tmp_path) as proxy, ThreadPoolExecutor(1) as pool:
        text = "[[fault=drip:delay_s=0.02]] slow"
        num_before = mock.count
        slow = pool.submit(ask, proxy, text, stream=True)
        wait_until(lambda: mock.count > num_before)
        counts = proxy.stop(number)
        assert slow.result().body == ask(mock, text, stream=True).body
    assert counts["num_calls"] == counts["num_answers"] == 1
    assert counts["ledger"] == "ledger.sqlite"
    assert f"for OpenAI ({mock.base_url('openai_chat')})" in proxy.said
    assert f"OPENAI_BASE_URL=http://127.0.0.1:{proxy.port}/v1" in proxy.said
    assert "next: stillhouse import ledger.sqlite --from ledger" in proxy.said
    assert OUR_KEY not in proxy.said


def test_a_second_signal_does_not_wait(mock: MockProvider, tmp_path: Path) -> None:
    with running(mock, tmp_path, "--grace", "60") as proxy, ThreadPoolExecutor(1) as pool:
        num_before = mock.count
        hung = pool.submit(give_up, proxy, "[[fault=late_hang]] hangs")
        wait_until(lambda: mock.count > num_before)
        proxy.process.send_signal(signal.SIGINT)
        wait_until(lambda: is_free(proxy.port))
        counts = proxy.stop()
        hung.result()
    assert counts["errors"] == {"proxy_stopped": 1}


def test_a_kill_loses_only_what_was_under_way_and_lists_it(
    mock: MockProvider, tmp_path: Path
) -> None:
    answered: list[str] = []
    sent: list[str] = []
    lock = threading.Lock()

    def caller(number: int) -> None:
        for turn in range(10_000):
            text = f"caller {number} turn {turn}"
            with lock:
                sent.append(text)
            try:
                ask(proxy, text, stream=turn % 2 == 1)
            except (OSError, http.client.IncompleteRead):
                return
            with lock:
                answered.append(text)

    mock.change(latency={"first_s": 0.05})
    with running(mock, tmp_path) as proxy:
        threads = [threading.Thread(target=caller, args=(n,)) for n in range(NUM_CALLERS)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) > 150, timeout_s=20)
        with lock:
            proxy.process.send_signal(signal.SIGKILL)
            long_answered = set(answered[: -4 * NUM_CALLERS])  # a quarter of a second ago
        for thread in threads:
            thread.join()
    mock.change(latency={"first_s": 0.0})
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        recorded = {
            row.request.messages[0].content for row in ledger.recorded(up_to=ledger.extent()[0])
        }
        open_ids = [each.request_id for each in ledger.open_calls()]
        left_open = {each.messages[0].content for each in ledger.requests(open_ids)}
    assert long_answered <= recorded
    assert len(set(answered) - recorded) <= 2 * NUM_CALLERS
    assert left_open, "some were under way"
    # Begun a moment before the kill, a call may not even have been noted.
    assert len(set(sent) - recorded - left_open) <= NUM_CALLERS
    with running(mock, tmp_path) as proxy:
        assert f"{len(left_open)} calls of an earlier process have no outcome" in proxy.said
        proxy.stop()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_lost == len(left_open)


def test_without_a_key_of_its_own_it_says_so_and_passes_on_the_callers(
    mock: MockProvider, tmp_path: Path
) -> None:
    own = {"authorization": f"Bearer {CALLERS_KEY}"}
    with running(mock, tmp_path, key="") as proxy:
        assert "OPENAI_API_KEY is not set" in proxy.said
        statuses = [
            call(proxy, "POST", PATHS["openai_chat"], body_of("openai_chat", text), own).status
            for text in ("rain tonight", "[[fault=server_error]] storms")
        ]
        counts = proxy.stop()
    assert statuses == [200, 500]
    assert (counts["num_calls"], counts["num_answers"]) == (2, 1)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
        assert (totals.num_answered, totals.num_failed, totals.num_open) == (1, 1, 0)
    assert CALLERS_KEY not in proxy.said
    assert not any(CALLERS_KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_json_and_quiet_say_what_they_should(mock: MockProvider, tmp_path: Path) -> None:
    with running(mock, tmp_path, "--record-fraction", "0") as proxy:
        ask(proxy)
        counts = proxy.stop()
    assert (counts["num_calls"], counts["num_passed"], counts["num_answers"]) == (1, 1, 0)
    assert "next:" not in proxy.said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "nobody"), "no provider"),
        (("--to", "openai", "--host", "0.0.0.0"), "--allow-remote"),
        (("--to", "openai", "--host", "192.168.1.5"), "--allow-remote"),
        (("--to", "openai", "--record-fraction", "1.5"), "give 0 to 1"),
        (("--to", "openai", "--port", "70000"), "give 0 to 65535"),
        (("--to", "openai", "--grace", "-1"), "--grace"),
        (("--to", "openai", "--prices", "missing.yaml"), "missing.yaml"),
        (("--to", "openai", "--ledger", "no/such/folder/x"), "make the folder"),
        (("--to", "azure"), "AZURE_OPENAI_ENDPOINT"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    ran = run_here(capsys, "proxy", "--port", "0", *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_a_port_that_is_taken_is_said_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run_here(capsys, "proxy", "--to", "openai", "--port", port)
    assert ran.code == 2
    assert "Give another --port" in ran.err


@pytest.mark.parametrize("arguments", [(), ("--host", "0.0.0.0", "--allow-remote")])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_to_itself_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    host: str,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://{host}:{port}/v1")
    ran = run_here(capsys, "proxy", "--to", "openai", "--port", port, *arguments)
    assert ran.code == 2
    assert "this proxy's own address" in ran.err


def test_a_provider_whose_port_only_begins_like_ours_is_no_loop() -> None:
    upstream = Upstream("vllm", {"VLLM_BASE_URL": "http://127.0.0.1:8000/v1"}, allows_remote=False)
    assert upstream.is_at("localhost", 8000)
    assert not upstream.is_at("localhost", 800)
    assert not upstream.is_at("192.168.1.5", 8000)


def give_up(proxy: Running, text: str) -> None:
    with pytest.raises(Exception, match=r"Remote end closed|reset|IncompleteRead"):
        ask(proxy, text, timeout_s=30)
