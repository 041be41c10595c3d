"""What a server logs of its requests, over loopback, and what a log costs and survives."""

import asyncio
import http.client
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from certify_cases import bank_rows, fitted_bank
from serve_cases import RunningServer

from stillhouse.cascade import ROWS_STEM, CascadeRow, WatchConfig, open_cascade
from stillhouse.certify import CertifyConfig, certify
from stillhouse.classifiers import load_classifier
from stillhouse.records import Message
from stillhouse.serve import Answering, Ask, Piece, RefusedError
from stillhouse.serve._cascade import CascadeEngine
from stillhouse.serve._labels import LabelEngine
from stillhouse.serve._observer import Observer
from stillhouse.servicelog import AuditRow, LogConfig, LogWriter, RequestRow, read_log

CHAT = "/v1/chat/completions"
ROWS = bank_rows(500, held_out=200)
STRANGE = "zyxw vuts qponm zyxw 9999 vuts"


class SlowEngine:
    """Says two words, with a pause between them."""

    name = "slow"
    version = "v1"

    def __init__(self, pause_s: float = 0.05) -> None:
        self.num_running = 0
        self._pause_s = pause_s

    async def open(self, ask: Ask) -> Answering:
        return Answering(7, self._pieces())

    async def _pieces(self) -> AsyncIterator[Piece]:
        yield Piece(0, "two ", (), None, 1)
        await asyncio.sleep(self._pause_s)
        yield Piece(0, "words", (), "length", 2)

    async def close(self) -> None:
        return


class FixedTeacher:
    """Says one thing, or that it is out."""

    name = "gpt-5-mini"

    def __init__(self, said: str | None) -> None:
        self.num_running = 0
        self._said = said

    async def open(self, ask: Ask) -> Answering:
        if self._said is None:
            raise RefusedError(502, "The engine of teacher is not reached.")
        return Answering(3, self._pieces(self._said))

    async def _pieces(self, said: str) -> AsyncIterator[Piece]:
        yield Piece(0, said, (), "stop", 1)

    async def close(self) -> None:
        return


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def requests_in(folder: Path) -> list[RequestRow]:
    return [row for row in read_log(folder) if isinstance(row, RequestRow)]


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cascade")
    dataset, student = fitted_bank(folder, ROWS)
    return certify(student, dataset, folder / "cascade", config=CertifyConfig(target=0.9)).path


@pytest.fixture
def engine_of(cascade: Path, tmp_path: Path) -> Callable[..., CascadeEngine]:
    def make(teacher: FixedTeacher, **given: Any) -> CascadeEngine:
        opened = open_cascade(cascade)
        classifier = load_classifier(opened.student.path)
        student = LabelEngine(classifier, opened.task, name="bank", novelty=opened.novelty)
        watch = WatchConfig(**{"audit_fraction": 1e-12, **given})
        return CascadeEngine(opened, student, teacher, memory=tmp_path / "watch.json", config=watch)

    return make


@pytest.fixture
def sure(cascade: Path) -> str:
    """A text that the student may answer, and answers as the teacher did."""
    for row in open_cascade(cascade).artifact.rows(ROWS_STEM, CascadeRow):
        if row.route == "student" and row.predicted == row.answer:
            return next(one.text for one in ROWS if one.prompt_id == row.prompt_id)
    raise AssertionError("the student may answer nothing")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_is_a_row(tmp_path: Path, streamed: bool) -> None:
    with RunningServer(SlowEngine(), log=LogConfig(folder=tmp_path)) as server:
        body = asked("hello", model="any", temperature=0.5, max_tokens=9, stream=streamed)
        status, headers, _ = server.send(CHAT, body, headers={"X-Request-Id": "mine-1"})
        assert (status, headers["x-request-id"]) == (200, "mine-1")
    (row,) = requests_in(tmp_path)
    assert (row.client_id, row.protocol, row.model) == ("mine-1", CHAT, "any")
    assert (row.route, row.reason, row.version) == ("student", "only", "v1")
    assert (row.streamed, row.status, row.cancelled) == (streamed, 200, False)
    assert row.asked is not None
    assert [message.content for message in row.asked.messages] == ["hello"]
    assert (row.asked.temperature, row.asked.max_tokens) == (0.5, 9)
    (answer,) = row.answers
    assert (answer.text, answer.finish_reason) == ("two words", "length")
    assert (row.prompt_tokens, row.completion_tokens) == (7, 2)
    assert row.first_s is not None
    assert row.first_s < 0.05 <= row.seconds


def test_refusals_are_rows_and_strangers_are_not(tmp_path: Path) -> None:
    config = LogConfig(folder=tmp_path)
    with RunningServer(SlowEngine(), log=config, keys=("k",), max_body_bytes=2000) as server:
        key = {"Authorization": "Bearer k"}
        assert server.send(CHAT, asked("hello"))[0] == 401
        assert server.send(CHAT, {"messages": []}, headers=key)[0] == 400
        assert server.send(CHAT, asked("x" * 3000), headers=key)[0] == 413
        assert server.send("/v1/models", headers=key)[0] == 200
        assert server.send("/nowhere", {}, headers=key)[0] == 404
        assert server.send("/v1/decisions", {"input": "hello"}, headers=key)[0] == 404
    rows = requests_in(tmp_path)
    assert [row.status for row in rows] == [400, 413, 404]
    assert {(row.route, row.reason) for row in rows} == {("server", "refused")}
    assert rows[0].error is not None
    assert "at least one message" in rows[0].error


def test_a_caller_that_goes_away_is_a_row_with_what_was_said(tmp_path: Path) -> None:
    with RunningServer(SlowEngine(20.0), log=LogConfig(folder=tmp_path)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", CHAT, json.dumps(asked("hello", stream=True)))
        response = connection.getresponse()
        assert response.read(20)
        connection.close()
        response.close()
        log = server.server.log
        assert log is not None
        for _ in range(100):
            time.sleep(0.02)
            if log.flush() and log.state.written:
                break
    (row,) = requests_in(tmp_path)
    assert (row.status, row.cancelled) == (499, True)
    assert row.answers[0].text == "two "
    assert row.answers[0].finish_reason is None


def test_routes_reasons_and_audits_of_a_cascade_are_rows(
    engine_of: Any, sure: str, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    engine = engine_of(FixedTeacher("card"), audit_fraction=1.0)
    with RunningServer(engine, log=LogConfig(folder=folder)) as server:
        server.ask(CHAT, **asked(sure))
        server.ask(CHAT, **asked(STRANGE))
    student, teacher = requests_in(folder)
    assert (student.route, student.reason, student.audited) == ("student", "confident", True)
    assert student.confidence is not None
    assert student.queue_s is not None
    assert (teacher.route, teacher.teacher) == ("teacher", "gpt-5-mini")
    assert teacher.reason in ("unfamiliar", "unsure")
    assert teacher.novelty is not None
    assert student.novelty is not None
    assert teacher.novelty > student.novelty
    assert teacher.version == student.version == engine.version
    assert teacher.from_teacher
    (audit,) = (row for row in read_log(folder) if isinstance(row, AuditRow))
    assert (audit.id, audit.teacher) == (student.id, "gpt-5-mini")
    assert (audit.given.text, audit.answer.text) == (student.answers[0].text, "card")
    assert audit.loss == float(audit.given.text != "card")
    assert audit.asked == student.asked


def test_a_teacher_that_is_out_is_a_row(engine_of: Any, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with RunningServer(engine_of(FixedTeacher(None)), log=LogConfig(folder=folder)) as server:
        status, headers, _ = server.send(CHAT, asked(STRANGE))
        assert status == 502
        assert headers["x-stillhouse-route"] == "teacher"
        assert headers["x-stillhouse-reason"] in ("unfamiliar", "unsure")
    (row,) = requests_in(folder)
    assert (row.route, row.status, row.from_teacher) == ("teacher", 502, False)


def test_decisions_are_rows(cascade: Path, tmp_path: Path) -> None:
    opened = open_cascade(cascade)
    engine = LabelEngine(load_classifier(opened.student.path), opened.task, name="bank")
    engine.version = "v2"
    with RunningServer(engine, log=LogConfig(folder=tmp_path)) as server:
        status, headers, body = server.send("/v1/decisions", {"input": "my card was stolen"})
        assert status == 200
        assert headers["x-stillhouse-version"] == "v2"
    (row,) = requests_in(tmp_path)
    assert row.answers[0].text == json.loads(body)["choice"]
    assert row.asked is not None
    assert row.asked.messages[0].content == "my card was stolen"
    assert row.confidence is not None
    assert f"{row.confidence:.4f}" == headers["x-stillhouse-confidence"]
    assert row.confidence == json.loads(body)["probabilities"][row.answers[0].text]


def test_what_is_private_is_not_written_unless_it_is_wanted(tmp_path: Path) -> None:
    mail = "I am ann@example.com"
    for name, settings in (("scrubbed", {}), ("hash", {"content": "hash"})):
        config = LogConfig(folder=tmp_path / name, **settings)
        with RunningServer(SlowEngine(0.0), log=config) as server:
            server.ask(CHAT, **asked(mail))
        (file,) = (tmp_path / name).iterdir()
        assert b"ann@" not in file.read_bytes()
    (row,) = requests_in(tmp_path / "scrubbed")
    assert row.asked is not None
    assert row.asked.messages[0].content == "I am [EMAIL_1]"


SERVER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, "tests/unit")
from test_serve_log import SlowEngine
from stillhouse.serve import ServeConfig, serve
from stillhouse.servicelog import LogConfig

log = LogConfig(folder=Path(sys.argv[1]), retry_s=0.05)
serve(SlowEngine(0.0), ServeConfig(port=0, log=log), on_ready=lambda s: print(s.url, flush=True))
"""


class ServerProcess:
    """A server in a process of its own that logs."""

    def __init__(self, folder: Path) -> None:
        root = Path(__file__).resolve().parents[2]
        self.child = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder)],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout is not None
        self._port = int(self.child.stdout.readline().strip().rpartition(":")[2])

    def get(self, path: str, body: str | None = None) -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)) as connection:
            connection.request("GET" if body is None else "POST", path, body)
            response = connection.getresponse()
            assert response.status == 200
            return response.read().decode()

    def until(self, state: str) -> dict[str, Any]:
        """Ask until the log is in that state."""
        for _ in range(200):
            self.get(CHAT, json.dumps(asked("hello")))
            told = json.loads(self.get("/health"))
            if told["log"]["state"] == state:
                return dict(told["log"])
        raise AssertionError(f"it was never {state}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """What it said on stderr."""
        self.child.send_signal(number)
        return self.child.communicate(timeout=20)[1]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path)
    try:
        yield process
    finally:
        process.child.kill()
        process.child.communicate()


def test_a_full_disk_stops_no_answer_and_the_log_goes_on_when_there_is_room(
    tmp_path: Path, process: ServerProcess
) -> None:
    assert process.until("writing")["dropped"] == 0
    pid, unlimited = process.child.pid, resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, unlimited))
    assert process.until("failing")["dropped"] > 0
    assert "stillhouse_log_failing 1" in process.get("/metrics")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    dropped = process.until("writing")["dropped"]
    page = process.get("/metrics")
    assert f'stillhouse_log_dropped_total{{reason="disk"}} {dropped}\n' in page
    assert "stillhouse_log_failing 0" in page
    assert process.end().count("answered and not logged") == 1
    assert all(row.status == 200 for row in requests_in(tmp_path))


def test_a_server_that_is_killed_leaves_what_it_had_answered(
    tmp_path: Path, process: ServerProcess
) -> None:
    for number in range(20):
        process.get(CHAT, json.dumps(asked(f"question {number}")))
    written = "stillhouse_log_rows_total 20\n"
    for _ in range(100):
        if written in process.get("/metrics"):
            break
        time.sleep(0.01)
    process.end(signal.SIGKILL)
    questions = [row.asked.messages[0].content for row in requests_in(tmp_path) if row.asked]
    assert questions == [f"question {number}" for number in range(20)]


def test_a_log_costs_the_loop_less_than_50_microseconds_a_request(tmp_path: Path) -> None:
    def cost_us(observer: Observer) -> float:
        """What looking on takes of the loop's time for one request, in microseconds."""

        async def once(number: int) -> None:
            seen = observer.begin(CHAT, {})
            seen.is_question = True
            seen.ask = Ask(messages=(Message(role="user", content=f"a question {number}"),))
            answering = Answering(3, pieces())
            observer.follow(seen, answering)
            async for _ in answering.pieces:
                pass
            observer.end(seen, 200)

        async def pieces() -> AsyncIterator[Piece]:
            yield Piece(0, "card", (), "stop", 1)

        async def many() -> float:
            started_s = time.thread_time()
            for number in range(500):
                await once(number)
            if observer.log is not None:
                assert observer.log.flush()
            return (time.thread_time() - started_s) / 500 * 1e6

        return min(asyncio.run(many()) for _ in range(5))

    off = cost_us(Observer(SlowEngine()))
    observer = Observer(SlowEngine())
    observer.log = LogWriter(LogConfig(folder=tmp_path))
    on = cost_us(observer)
    observer.log.close()
    assert on - off < 50


def test_without_a_log_nothing_is_told_of_one() -> None:
    with RunningServer(SlowEngine(0.0)) as server:
        server.ask(CHAT, **asked("hello"))
        assert json.loads(server.send("/health")[2]) == {"status": "ok"}
        assert "stillhouse_log" not in server.send("/metrics")[2].decode()
