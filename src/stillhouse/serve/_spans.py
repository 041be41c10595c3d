"""Requests as OpenTelemetry spans, under the names of its conventions for generative AI.

A request is one span, which goes on with the trace of its caller, and has as children how long it
waited (`queue`), how long it was answered (`generate`), and each call of another server, which is
sent the trace. Where spans go is said by the usual variables, such as OTEL_EXPORTER_OTLP_ENDPOINT.

Source: opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans, status development, read 2026-11.
"""

import os
from collections.abc import Mapping
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any

import orjson

from stillhouse.errors import MissingDependencyError
from stillhouse.serve._ask import Ask
from stillhouse.serve._headers import told_of
from stillhouse.serve._seen import Seen

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_PROVIDER = "stillhouse"
_SCOPE = "stillhouse.serve"
_NS = 1_000_000_000
_OPERATIONS = {"/v1/completions": "text_completion", "/v1/decisions": "decide"}


class Tracing:
    """Makes spans of requests.

    Args:
        provider: Takes the spans.
        has_content: Whether they hold what was asked and answered.

    Raises:
        MissingDependencyError: OpenTelemetry is not installed.
    """

    def __init__(self, provider: "TracerProvider", *, has_content: bool = False) -> None:
        self._api = _api()
        self._provider = provider
        self._has_content = has_content
        self._tracer = provider.get_tracer(_SCOPE)
        self._propagator = self._api.propagator

    def begin(self, seen: Seen, headers: Mapping[str, str]) -> None:
        """A request has come; the trace of its caller goes on."""
        named = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        seen.span = self._tracer.start_span(
            seen.path,
            context=self._propagator.extract(named),
            kind=self._api.kinds.SERVER,
            start_time=int(seen.at_s * _NS),
        )

    def call(self, seen: Seen, model: str) -> dict[str, str]:
        """Another server is asked for it; gives the headers that carry the trace there."""
        span = self._child(
            seen,
            f"chat {model}",
            kind=self._api.kinds.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",  # whose protocol it speaks
                "gen_ai.request.model": model,
            },
        )
        seen.calls.append(span)
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=self._api.in_context(span))
        return carrier

    def end(self, seen: Seen, status: int) -> None:
        """It is over."""
        ended_ns = time_ns()
        while seen.calls:
            seen.calls.pop().end(ended_ns)
        if not seen.is_question:  # who asks for health or metrics would fill every trace
            seen.span = None
            return
        span: Span = seen.span
        operation = _OPERATIONS.get(seen.path, "chat")
        span.update_name(f"{operation} {seen.model}" if seen.model else operation)
        span.set_attributes(_attributes(seen, operation, status))
        if self._has_content:
            span.set_attributes(_content(seen))
        if status >= 400:
            span.set_attribute("error.type", str(status))
            message = "" if seen.refused is None or not self._has_content else seen.refused.message
            span.set_status(self._api.error, message or None)
        began_s = seen.began_s
        if began_s is not None:
            self._past(seen, "queue", seen.started_s, began_s)
            self._past(seen, "generate", began_s, monotonic())
        elif seen.first_s is not None and "teacher" not in seen.facts:
            self._past(seen, "generate", seen.started_s, monotonic())
        span.end(ended_ns)

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()

    def _past(self, seen: Seen, name: str, began_s: float, ended_s: float) -> None:
        """A child that has ended already."""
        child = self._child(
            seen, name, kind=self._api.kinds.INTERNAL, start_time=_at_ns(seen, began_s)
        )
        child.end(_at_ns(seen, ended_s))

    def _child(self, seen: Seen, name: str, **given: Any) -> "Span":
        return self._tracer.start_span(name, context=self._api.in_context(seen.span), **given)


def open_tracing(*, has_content: bool) -> Tracing:
    """Tracing that sends spans where the environment says, by OTLP over HTTP.

    Raises:
        MissingDependencyError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as err:
        raise _missing() from err
    name = os.environ.get("OTEL_SERVICE_NAME", _PROVIDER)
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider, has_content=has_content)


class _Api:
    """What is used of OpenTelemetry, which is loaded when it is wanted only."""

    def __init__(self) -> None:
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.kinds = SpanKind
        self.error = StatusCode.ERROR
        self.in_context = set_span_in_context
        self.propagator = TraceContextTextMapPropagator()


def _api() -> _Api:
    try:
        return _Api()
    except ImportError as err:
        raise _missing() from err


def _missing() -> MissingDependencyError:
    return MissingDependencyError(
        "Spans need OpenTelemetry, which is not installed. Run: pip install 'stillhouse[otel]'"
    )


def _at_ns(seen: Seen, moment_s: float) -> int:
    """A moment of the clock of `monotonic`, since 1970."""
    return int((seen.at_s + moment_s - seen.started_s) * _NS)


def _attributes(seen: Seen, operation: str, status: int) -> dict[str, Any]:
    told = told_of(seen)
    found: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.request.model": seen.model or None,
        "http.response.status_code": status,
        "stillhouse.request.id": seen.id,
        "stillhouse.route": told["x-stillhouse-route"],
        "stillhouse.reason": told["x-stillhouse-reason"],
        "stillhouse.version": told.get("x-stillhouse-version"),
        "stillhouse.confidence": seen.facts.get("confidence"),
        "stillhouse.novelty": seen.facts.get("novelty"),
    }
    if seen.ask is not None:
        found |= _asked(seen.ask, seen.is_streamed)
    if seen.answering is not None:
        answers = [answer for _, answer in sorted(seen.answers.items())]
        ends = [answer.finish_reason for answer in answers if answer.finish_reason is not None]
        found |= {
            "gen_ai.response.model": seen.facts.get("teacher", seen.model),
            "gen_ai.response.finish_reasons": ends,
            "gen_ai.usage.input_tokens": seen.answering.num_prompt_tokens,
            "gen_ai.usage.output_tokens": sum(answer.num_tokens for answer in answers),
        }
    if seen.first_s is not None:
        found["gen_ai.response.time_to_first_chunk"] = seen.first_s - seen.started_s
    return {name: value for name, value in found.items() if value is not None}


def _asked(ask: Ask, is_streamed: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.request.max_tokens": ask.max_tokens,
        "gen_ai.request.temperature": ask.temperature,
        "gen_ai.request.top_p": ask.top_p,
        "gen_ai.request.seed": ask.seed,
        "gen_ai.output.type": "text" if ask.schema is None else "json",
        "gen_ai.request.stream": is_streamed,
    }
    if ask.num_choices != 1:
        found["gen_ai.request.choice.count"] = ask.num_choices
    return found


def _content(seen: Seen) -> dict[str, str]:
    """What was asked and answered, as JSON in the form of the conventions."""
    asked: list[dict[str, Any]] = []
    if seen.ask is not None:
        asked = [_said(message.role, message.content) for message in seen.ask.messages]
        if seen.ask.text is not None:
            asked = [_said("user", seen.ask.text)]
    answered = [
        {**_said("assistant", answer.text), "finish_reason": answer.finish_reason}
        for _, answer in sorted(seen.answers.items())
    ]
    return {
        "gen_ai.input.messages": orjson.dumps(asked).decode(),
        "gen_ai.output.messages": orjson.dumps(answered).decode(),
    }


def _said(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": content}]}
