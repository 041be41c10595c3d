"""Who looks on while requests are answered: the log, and tracing."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from stillhouse.records import Message
from stillhouse.scrubbing import scrub_texts
from stillhouse.serve._ask import Answering, Ask, Engine
from stillhouse.serve._config import ServeConfig
from stillhouse.serve._guard import Guard
from stillhouse.serve._headers import told_of, version_of, watermark_of
from stillhouse.serve._seen import Audit, Seen, begin_seen
from stillhouse.servicelog import LogWriter

if TYPE_CHECKING:
    from stillhouse.serve._spans import Tracing

LEFT = 499
"""The status of a request whose caller went away, as nginx has it."""


class Observer:
    """Tells log and tracing about requests; with neither it costs next to nothing.

    Args:
        engine: What answers.
        tracing: What makes spans of requests.

    Attributes:
        log: Where they are logged.
    """

    def __init__(self, engine: Engine, *, tracing: "Tracing | None" = None) -> None:
        self.log: LogWriter | None = None
        self._engine = engine
        self._tracing = tracing
        self._guard: Guard | None = None

    @property
    def is_on(self) -> bool:
        """Whether anybody looks on."""
        return any(one is not None for one in (self.log, self._tracing, self._guard))

    def open(self, config: ServeConfig, on_flag: Callable[[str], None] | None = None) -> None:
        """Begin the log and tracing that a config asks for.

        Args:
            config: What it asks for.
            on_flag: Told the pseudonym of each account that stands out, in any thread.

        Raises:
            ConfigError: nothing can be logged there.
            MissingDependencyError: the packages of tracing are not installed.
        """
        if config.spans and self._tracing is None:
            from stillhouse.serve._spans import open_tracing

            self._tracing = open_tracing(has_content=config.span_content)
        if config.log is not None and self.log is None:
            self.log = LogWriter(config.log, scrub=scrub_texts)
        if config.access_log is not None and self._guard is None:
            self._guard = Guard(config.access_log, on_flag=on_flag)

    async def close(self) -> None:
        """Write what is still to be written; may be called twice."""
        if self.log is not None:
            await asyncio.to_thread(self.log.close)
        if self._guard is not None:
            await asyncio.to_thread(self._guard.close)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)

    def health(self) -> dict[str, Any]:
        """How the log is doing, where there is one."""
        if self.log is None:
            return {}
        state = self.log.state
        return {"log": {"state": state.state, "dropped": state.dropped}}

    def metrics(self) -> str:
        """The same for Prometheus."""
        watched = "" if self._guard is None else self._guard.metrics()
        if self.log is None:
            return watched
        state = self.log.state
        return (
            "# TYPE stillhouse_log_rows_total counter\n"
            f"stillhouse_log_rows_total {state.written}\n"
            "# TYPE stillhouse_log_dropped_total counter\n"
            f'stillhouse_log_dropped_total{{reason="waiting"}} {state.dropped_waiting}\n'
            f'stillhouse_log_dropped_total{{reason="disk"}} {state.dropped_disk}\n'
            "# TYPE stillhouse_log_failing gauge\n"
            f"stillhouse_log_failing {int(state.state == 'failing')}\n"
            f"{watched}"
        )

    def begin(self, path: str, headers: Mapping[str, str]) -> Seen:
        """A request has come."""
        seen = begin_seen(path, headers)
        if self._tracing is not None:
            seen.on_call = self._tracing.call
            self._tracing.begin(seen, headers)
        if self.log is not None:
            seen.on_audit = self._audited
        return seen

    def follow(self, seen: Seen, answering: Answering) -> None:
        """Its answer is under way."""
        if self.is_on:
            seen.follow(answering)
        else:
            seen.answering = answering

    def end(self, seen: Seen, status: int) -> None:
        """It is over; `LEFT` where its caller went away."""
        if not self.is_on:
            return
        status = status if seen.refused is None else seen.refused.status
        if self._tracing is not None:
            self._tracing.end(seen, status)
        if self._guard is not None and seen.is_question:
            self._guard.take(seen)
        if self.log is not None and seen.is_question:
            ended_s, version = monotonic(), version_of(self._engine)
            mark = watermark_of(self._engine)
            self.log.put(lambda: request_row(seen, status, ended_s, version, mark))

    def _audited(self, seen: Seen, audit: Audit) -> None:
        assert self.log is not None
        at_s = time()
        self.log.put(lambda: audit_row(seen, audit, at_s))


def request_row(
    seen: Seen, status: int, ended_s: float, version: str, watermark: str | None
) -> dict[str, Any]:
    """The row of a request; made in the thread of the log."""
    told, facts = told_of(seen), seen.facts
    route = told["x-stillhouse-route"]
    answering = seen.answering
    return {
        "kind": "request",
        "v": 1,
        "id": seen.id,
        "client_id": seen.client_id,
        "at": datetime.fromtimestamp(seen.at_s, UTC),
        "protocol": seen.path,
        "model": seen.model,
        "streamed": seen.is_streamed,
        "route": route,
        "reason": told["x-stillhouse-reason"],
        "confidence": facts.get("confidence"),
        "novelty": facts.get("novelty"),
        "version": told.get("x-stillhouse-version", version),
        "teacher": facts.get("teacher") if route == "teacher" else None,
        "watermark": facts.get("watermark", watermark) if route == "student" else None,
        "audited": facts.get("is_audited", False),
        "asked": None if seen.ask is None else asked_fields(seen.ask),
        "answers": [
            {
                "text": answer.text,
                "finish_reason": answer.finish_reason,
                "num_tokens": answer.num_tokens,
            }
            for _, answer in sorted(seen.answers.items())
        ],
        "prompt_tokens": 0 if answering is None else answering.num_prompt_tokens,
        "completion_tokens": sum(answer.num_tokens for answer in seen.answers.values()),
        "queue_s": _since(seen, seen.began_s),
        "first_s": _since(seen, seen.first_s),
        "seconds": round(ended_s - seen.started_s, 6),
        "status": status,
        "error": None if seen.refused is None else seen.refused.message,
        "cancelled": status == LEFT,
    }


def audit_row(seen: Seen, audit: Audit, at_s: float) -> dict[str, Any]:
    """The row of an audit; made in the thread of the log."""
    return {
        "kind": "audit",
        "v": 1,
        "id": seen.id,
        "at": datetime.fromtimestamp(at_s, UTC),
        "version": audit.version,
        "teacher": audit.teacher,
        "loss": audit.loss,
        "asked": asked_fields(audit.ask),
        "given": {"text": audit.given, "finish_reason": "stop"},
        "answer": {"text": audit.answer, "finish_reason": "stop"},
    }


def asked_fields(ask: Ask) -> dict[str, Any]:
    """What was asked, for a row."""
    return {
        "messages": [_message(message) for message in ask.messages],
        "text": ask.text,
        "tools": [tool.model_dump(mode="json") for tool in ask.tools],
        "output_schema": ask.schema,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "max_tokens": ask.max_tokens,
    }


def _message(message: Message) -> dict[str, Any]:
    fields = message.model_dump(mode="json", exclude_defaults=True)
    return {"role": message.role, "content": message.content, **fields}


def _since(seen: Seen, moment_s: float | None) -> float | None:
    return None if moment_s is None else round(moment_s - seen.started_s, 6)
