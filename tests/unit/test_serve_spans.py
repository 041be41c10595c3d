"""Requests as OpenTelemetry spans, kept in memory."""

import gzip
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from serve_cases import RunningServer
from test_serve_limits import EchoEngine, FailingEngine
from test_serve_log import CHAT, STRANGE, asked
from test_serve_log import cascade as cascade
from test_serve_log import engine_of as engine_of
from test_serve_log import sure as sure

from stillhouse.errors import ConfigError
from stillhouse.serve import Engine, ServeConfig, Server
from stillhouse.serve._spans import Tracing
from stillhouse.serve._upstream import UpstreamEngine

sdk = pytest.importorskip("opentelemetry.sdk.trace")
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class TracedServer(RunningServer):
    """A server whose spans stay in memory."""

    def __init__(self, engine: Engine, *, has_content: bool = False, **given: Any) -> None:
        super().__init__(engine, **given)
        self.exporter = InMemorySpanExporter()
        provider = sdk.TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        tracing = Tracing(provider, has_content=has_content)
        self.server = Server(engine, ServeConfig(port=0, **given), tracing=tracing)

    def spans(self) -> dict[str, Any]:
        """All that have ended, by name."""
        self.close()
        return {span.name: span for span in self.exporter.get_finished_spans()}


def test_a_request_is_a_span_with_the_names_of_the_conventions() -> None:
    with TracedServer(EchoEngine()) as server:
        body = asked("a secret", model="m", temperature=0.5, max_tokens=9, seed=3, n=2)
        server.send(CHAT, body, headers={"traceparent": PARENT})
        server.send("/health")
        server.send("/v1/models")
        spans = server.spans()
    assert set(spans) == {"chat m", "generate"}
    span = spans["chat m"]
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert span.kind.name == "SERVER"
    found = dict(span.attributes)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "stillhouse"
    assert found["gen_ai.request.model"] == "m"
    assert found["gen_ai.request.temperature"] == 0.5
    assert found["gen_ai.request.max_tokens"] == 9
    assert found["gen_ai.request.seed"] == 3
    assert found["gen_ai.request.choice.count"] == 2
    assert found["gen_ai.response.finish_reasons"] == ("stop", "stop")
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (1, 2)
    assert found["stillhouse.route"] == "student"
    assert "secret" not in str(found)
    assert spans["generate"].parent.span_id == span.context.span_id
    assert span.start_time <= spans["generate"].start_time
    assert spans["generate"].end_time <= span.end_time + 1_000_000


def test_content_is_in_spans_where_it_is_wanted() -> None:
    with TracedServer(EchoEngine(), has_content=True) as server:
        server.ask(CHAT, **asked("a secret", model="m"))
        found = server.spans()["chat m"].attributes
    (said,) = json.loads(found["gen_ai.input.messages"])
    assert said == {"role": "user", "parts": [{"type": "text", "content": "a secret"}]}
    (answer,) = json.loads(found["gen_ai.output.messages"])
    assert answer["parts"][0]["content"] == "a secret"


def test_failures_and_refusals_are_errors_without_their_words() -> None:
    with TracedServer(FailingEngine()) as server:
        assert server.send(CHAT, asked("hello", model="m"))[0] == 500
        assert server.send(CHAT, {"messages": "a secret", "model": "n"})[0] == 400
        spans = server.spans()
    assert spans["chat m"].attributes["error.type"] == "500"
    assert spans["chat m"].status.status_code.name == "ERROR"
    assert spans["chat n"].attributes["error.type"] == "400"
    assert "secret" not in str(spans["chat n"].attributes) + str(spans["chat n"].status.description)


def test_a_trace_goes_on_in_the_server_behind() -> None:
    with TracedServer(EchoEngine()) as behind:
        engine = UpstreamEngine(f"{behind.url}/v1", "inner", key=None, max_tokens=9)
        with TracedServer(engine) as front:
            headers = {"traceparent": PARENT, "tracestate": "vendor=1"}
            status, _, _ = front.send(CHAT, asked("hello", model="m"), headers=headers)
            assert status == 200
            spans = front.spans()
        inner = behind.spans()["chat inner"]
    call = spans["chat inner"]
    assert call.kind.name == "CLIENT"
    assert call.parent.span_id == spans["chat m"].context.span_id
    assert f"{inner.context.trace_id:032x}" == TRACE
    assert inner.parent.span_id == call.context.span_id
    assert inner.context.trace_state.get("vendor") == "1"


def test_the_call_of_a_teacher_and_of_an_audit_are_children(
    engine_of: Callable[..., Any], sure: str
) -> None:
    with TracedServer(EchoEngine()) as teacher:
        upstream = UpstreamEngine(f"{teacher.url}/v1", "gpt", key=None, max_tokens=9)
        with TracedServer(engine_of(upstream, audit_fraction=1.0)) as server:
            server.ask(CHAT, **asked(STRANGE, model="far"))
            spans = server.spans()
        assert spans["chat gpt"].parent.span_id == spans["chat far"].context.span_id
        assert spans["chat far"].attributes["stillhouse.route"] == "teacher"
        assert spans["chat far"].attributes["gen_ai.response.model"] == "gpt"
        assert spans["chat far"].attributes["stillhouse.novelty"] > 0
        upstream = UpstreamEngine(f"{teacher.url}/v1", "gpt", key=None, max_tokens=9)
        with TracedServer(engine_of(upstream, audit_fraction=1.0)) as server:
            server.ask(CHAT, **asked(sure, model="near"))
            spans = server.spans()
    assert set(spans) == {"chat near", "queue", "generate", "chat gpt"}
    assert spans["chat gpt"].parent.span_id == spans["chat near"].context.span_id
    assert spans["chat near"].attributes["stillhouse.route"] == "student"
    assert spans["queue"].end_time == spans["generate"].start_time


def test_a_parent_that_is_none_begins_a_new_trace() -> None:
    with TracedServer(EchoEngine()) as server:
        for number, given in enumerate(("", "00-zz-1-01", "x" * 5000)):
            body = asked("hello", model=f"m{number}")
            assert server.send(CHAT, body, headers={"traceparent": given})[0] == 200
        spans = server.spans()
    assert all(spans[f"chat m{number}"].parent is None for number in range(3))


def test_spans_that_are_off_load_nothing() -> None:
    code = (
        "import sys, stillhouse.serve\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what an exporter sends."""

    sent: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).sent.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


def test_spans_go_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{collector.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "bank")
        with RunningServer(EchoEngine(), spans=True) as server:
            server.ask(CHAT, **asked("a secret", model="m"))
        collector.shutdown()
    (sent,) = Collector.sent
    assert sent[0] == "/v1/traces"
    body = gzip.decompress(sent[1]) if sent[1][:2] == b"\x1f\x8b" else sent[1]
    assert b"chat m" in body
    assert b"gen_ai.operation.name" in body
    assert b"bank" in body
    assert b"secret" not in body


def test_spans_without_opentelemetry_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from stillhouse.errors import MissingDependencyError\n"
        "from stillhouse.serve._spans import open_tracing\n"
        "try:\n    open_tracing(has_content=False)\n"
        "except MissingDependencyError as err:\n    print(err)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "stillhouse[otel]" in done.stdout


def test_content_without_spans_is_refused() -> None:
    with pytest.raises(ConfigError, match="none are made"):
        ServeConfig(span_content=True)
