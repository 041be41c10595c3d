"""What comes over the connection beside well-formed requests, and in which pace."""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from serve_cases import RunningServer
from test_serve_limits import ASKED, CHAT, EchoEngine

from stillhouse.listening import allow_many_connections
from stillhouse.serve import Ask, Piece

BODY = json.dumps(ASKED).encode()


class LongEngine(EchoEngine):
    """Says more than the buffers of a connection hold, as fast as it is taken."""

    num_pieces = 0

    async def _pieces(self, ask: Ask) -> AsyncIterator[Piece]:
        for self.num_pieces in range(200):
            yield Piece(0, "x" * 50_000)
        yield Piece(0, "", (), "stop", 1)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(EchoEngine(), max_body_bytes=1 << 20) as server:
        yield server


def head(length: int = len(BODY), *more: str, path: str = CHAT) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def connected(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def received(connection: socket.socket, until: bytes = b"") -> bytes:
    """What comes until `until` has come, or the end."""
    got = b""
    while not (until and until in got):
        more = connection.recv(65536)
        if not more:
            break
        got += more
    return got


@pytest.mark.parametrize("value", ["1e400", "-1e400", "1" + "0" * 400, "1.5", "-1", '"5"', "true"])
@pytest.mark.parametrize("name", ["max_tokens", "n", "seed"])
def test_numbers_out_of_range_are_refused(server: RunningServer, name: str, value: str) -> None:
    body = BODY[:-1] + f', "{name}": {value}}}'.encode()
    expected = 200 if (name, value) == ("seed", "-1") else 400
    assert server.send(CHAT, body)[0] == expected


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", '"\\ud800"', "0x10", "01", "'a'", "1,", "/**/1", '"\t"'],
)
def test_what_json_does_not_have_is_refused(server: RunningServer, value: str) -> None:
    status, _, told = server.send(CHAT, BODY[:-1] + f', "temperature": {value}}}'.encode())
    assert status == 400
    assert "The body is no JSON" in json.loads(told)["error"]["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe{}",
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        b'{"a":"\xed\xa0\x80"}',
    ],
)
def test_what_is_no_utf_8_is_refused(server: RunningServer, raw: bytes) -> None:
    assert server.send(CHAT, raw)[0] == 400


@pytest.mark.parametrize("field", ["temperature", "unknown", "messages", "response_format"])
def test_deep_nesting_is_refused_wherever_it_is(server: RunningServer, field: str) -> None:
    for depth in (101, 900, 100_000):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            value = opening * depth + b"1" + closing * depth
            body = BODY[:-1] + b', "%s": %s}' % (field.encode(), value)
            status, _, told = server.send(CHAT, body)
            assert status == 400
            assert json.loads(told)["error"]["type"] == "invalid_request_error"


def test_nesting_that_schemas_need_is_read(server: RunningServer) -> None:
    body = BODY[:-1] + b', "unknown": %s}' % (b"[" * 99 + b"]" * 99)
    assert server.send(CHAT, body)[0] == 200


def test_more_lists_than_anyone_sends_are_refused_at_once(server: RunningServer) -> None:
    for inner in (b"[]", b"[1]", b"{}"):
        for number, expected in ((90_000, 200), (110_000, 400)):
            body = BODY[:-1] + b', "unknown": [%s]}' % b",".join([inner] * number)
            status, _, told = server.send(CHAT, body)
            assert status == expected
            assert (b"lists and objects" in told) == (expected == 400)


def test_of_keys_that_come_twice_the_last_one_counts(server: RunningServer) -> None:
    again = b'{"messages": [], "n": 99, "messages": [{"role": "user", "content": "b"}], "n": 2}'
    status, _, body = server.send(CHAT, again)
    assert status == 200
    assert [c["message"]["content"] for c in json.loads(body)["choices"]] == ["b", "b"]


def test_any_model_may_be_named_and_names_no_file(server: RunningServer) -> None:
    for name in ("gpt-5", "../../etc/passwd", "/etc/passwd", "a" * 256, "\U0001f600"):
        assert server.ask(CHAT, **ASKED, model=name)["model"] == name
    for wrong in ("a" * 257, 5, ["a"], {}):
        status, _, body = server.send(CHAT, {**ASKED, "model": wrong})
        assert status == 400
        assert json.loads(body)["error"]["param"] == "model"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart", ""]
)
def test_json_is_read_whatever_it_is_called(server: RunningServer, kind: str) -> None:
    assert server.send(CHAT, ASKED, headers={"Content-Type": kind})[0] == 200
    form = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n"
    assert server.send(CHAT, form, headers={"Content-Type": kind})[0] == 400


def test_a_body_that_grows_when_it_is_unpacked_is_refused(server: RunningServer) -> None:
    packed = {"Content-Encoding": "gzip"}
    assert server.send(CHAT, gzip.compress(BODY), headers=packed)[0] == 200
    bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]", 1)
    assert len(bomb) < 1 << 20  # it is within the limit as it comes
    assert server.send(CHAT, bomb, headers=packed)[0] == 413
    status, _, told = server.send(CHAT, BODY, headers=packed)  # it is not packed at all
    assert (status, b"cannot be read" in told) == (400, True)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (CHAT, "POST, OPTIONS"),
        ("/v1/messages", "POST, OPTIONS"),
        ("/v1/embeddings", "POST, OPTIONS"),
        ("/v1/decisions", "POST, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/echo", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    server: RunningServer, path: str, allowed: str
) -> None:
    for method in ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "TRACE"):
        if method in allowed.split(", "):
            continue
        status, headers, body = server.send(path, method=method)
        assert (status, headers["allow"]) == (405, allowed)
        if method == "HEAD":
            assert body == b""
        elif path == "/v1/messages":
            assert json.loads(body)["error"]["type"] == "invalid_request_error"
        else:
            assert json.loads(body)["error"].keys() == {"message", "type", "param", "code"}
    status, headers, body = server.send(path, method="OPTIONS")
    assert (status, headers["allow"], body) == (204, allowed, b"")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models", "/v1/models/echo"])
def test_head_has_the_headers_of_get(server: RunningServer, path: str) -> None:
    status, headers, body = server.send(path, method="HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-type"] == server.send(path)[1]["content-type"]


def test_requests_that_are_sent_ahead_are_answered_in_their_order(server: RunningServer) -> None:
    bodies = [
        json.dumps({"messages": [{"role": "user", "content": f"number {place}"}]}).encode()
        for place in range(5)
    ]
    with connected(server) as connection:
        connection.sendall(b"".join(head(len(body)) + body for body in bodies))
        got = received(connection, b"number 4").decode()
    places = [got.index(f"number {place}") for place in range(5)]
    assert places == sorted(places)
    assert got.count("HTTP/1.1 200 OK") == 5


def test_who_waits_with_the_body_is_told_to_send_it(server: RunningServer) -> None:
    with connected(server) as connection:
        connection.sendall(head(len(BODY), "Expect: 100-continue"))
        assert received(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert b"hello" in received(connection, b"hello")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(2 << 20, "Expect: 100-continue"), b"413"),
        (head(9, "Expect: 100-continue", path="/v1/none"), b"404"),
        (head(9, "Expect: a-miracle"), b"417"),
    ],
)
def test_what_is_refused_without_its_body_need_not_send_it(
    server: RunningServer, sent: bytes, status: bytes
) -> None:
    with connected(server) as connection:
        connection.sendall(sent)
        got = received(connection, b"\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 " + status)
        assert b"connection: close" in got.lower()  # a body that came now would be a request


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST",
        head()[:-2],
        head() + BODY + b"POST /v1/chat/com",  # the second request of a connection
    ],
    ids=["nothing", "half a line", "half a head", "half a second head"],
)
def test_a_connection_without_a_request_is_closed_after_a_time(sent: bytes) -> None:
    with RunningServer(EchoEngine(), idle_s=0.2) as server, connected(server) as connection:
        connection.sendall(sent)
        began_s = time.monotonic()
        received(connection)  # until the other side closes
        assert 0.1 < time.monotonic() - began_s < 5


def test_a_body_that_trickles_in_is_given_up_in_time() -> None:
    with RunningServer(EchoEngine(), read_s=0.3) as server, connected(server) as connection:
        connection.sendall(head())
        began_s = time.monotonic()
        connection.settimeout(0.05)
        got = b""
        for byte in BODY:  # each byte in time, and all of them too late
            connection.sendall(bytes([byte]))
            try:
                got = connection.recv(1000)
                break
            except TimeoutError:
                continue
        assert got.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began_s < 2


@pytest.mark.parametrize("is_streamed", [True, False])
def test_who_does_not_read_the_answer_is_cut_off(is_streamed: bool) -> None:
    engine = LongEngine()
    body = json.dumps({**ASKED, "stream": is_streamed}).encode()
    with RunningServer(engine, deadline_s=1.0) as server, connected(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head(len(body)) + body)
        until_s = time.monotonic() + 10
        left = f'stillhouse_requests_total{{path="{CHAT}",status="left"}} 1'
        while left not in server.send("/metrics")[2].decode() and time.monotonic() < until_s:
            time.sleep(0.05)
        assert left in server.send("/metrics")[2].decode()
        assert engine.num_running == 0
        while server.server.num_under_way and time.monotonic() < until_s:
            time.sleep(0.01)
        assert server.server.num_under_way == 0  # nothing waits for the caller
    if is_streamed:
        assert engine.num_pieces < 199  # it said no more than the connection took


def test_a_port_that_is_taken_is_found_before_the_student_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "stillhouse", "serve", str(tmp_path / "absent")]
        done = subprocess.run(
            [*command, "--port", port], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode != 0
    assert f"cannot listen at 127.0.0.1:{port}" in done.stderr
    assert "absent" not in done.stderr


_IDLE = """
import sys
sys.path.insert(0, sys.argv[1])
from test_serve_limits import EchoEngine
from stillhouse.serve import ServeConfig, serve
serve(
    EchoEngine(),
    ServeConfig(port=0, idle_s=float(sys.argv[2])),
    on_ready=lambda server: print(server.url.rpartition(":")[2], flush=True),
)
"""


def _resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_thousand_idle_connections_take_little_and_are_closed() -> None:
    allow_many_connections()  # this side has as many as that one
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        ["sh", "-c", 'ulimit -Sn 512; exec "$@"', "sh", sys.executable, "-c", _IDLE, here, "2"],
        stdout=subprocess.PIPE,
    )
    idle: list[socket.socket] = []
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        before_bytes = _resident_bytes(process.pid)
        idle += [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(1000)]
        for connection in idle[::2]:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: local")
        began_s = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as other:
            other.sendall(head() + BODY)
            assert b"hello" in received(other, b"hello")
        assert time.monotonic() - began_s < 2
        assert _resident_bytes(process.pid) - before_bytes < 1000 * 64 * 1024
        for connection in idle:
            assert connection.recv(10) == b""  # closed, in the time that the socket waits
    finally:
        for connection in idle:
            connection.close()
        process.send_signal(signal.SIGKILL)
        process.communicate()
