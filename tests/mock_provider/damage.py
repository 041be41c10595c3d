"""Faults of an answer's bytes: what is sent in place of what should be."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from tests.mock_provider.errors import ApiError
from tests.mock_provider.faults import Fault

_USAGE_NAMES = ("usage", "usageMetadata")
_KEEP_ALIVE = (b": keep-alive\n\n", b"\n", b":\n\n")
_SHRED_BYTES = 7
_DRIP_BYTES = 40


def damaged_body(body: bytes, fault: Fault) -> bytes:
    """A whole body with the fault in it."""
    if fault.kind == "torn_json":
        return body[: int(len(body) * fault.at)]
    if fault.kind == "bad_utf8":
        return _with_bad_bytes(body)
    if fault.kind == "oversized":
        return body + b" " * fault.size_bytes
    return _without_usage(body) if fault.kind == "no_usage" else body


def damaged_events(events: Iterable[bytes], fault: Fault, family: str) -> Iterator[bytes]:
    """A stream's events with the fault in them; `cut`, `stall` and `lost` are the sender's."""
    given = list(events)
    middle = min(len(given) - 1, max(1, int(len(given) * fault.at)))
    if fault.kind == "no_end":
        yield from given[: -_num_ending(family)]
    elif fault.kind == "late_error":
        yield from given[:middle]
        yield late_error(given[0], family)
    elif fault.kind == "torn_json":
        yield from given[:middle]
        yield given[middle].rstrip()[: len(given[middle]) // 2] + b"\n\n"
        yield from given[middle + 1 :]
    elif fault.kind == "bad_utf8":
        yield from (_with_bad_bytes(event) if at == middle else event
                    for at, event in enumerate(given))  # fmt: skip
    elif fault.kind == "oversized":
        yield from (*given[:middle], b": " + b"x" * fault.size_bytes + b"\n\n", *given[middle:])
    else:
        for event in given:
            yield from _changed(event, fault.kind)


def pieces(body: bytes, fault: Fault) -> list[bytes]:
    """Bytes cut as `drip` and `shred` send them."""
    size = _DRIP_BYTES if fault.kind == "drip" else _SHRED_BYTES
    return [body[at : at + size] for at in range(0, len(body), size)]


def late_error(first: bytes, family: str) -> bytes:
    """An error event as the provider sends one after 200; `first` tells which API it is."""
    error = ApiError("overloaded", "The server is overloaded.")
    if b"response.created" in first:
        event = {"type": "error", "code": "server_error", "message": str(error), "param": None,
                 "sequence_number": 99}  # fmt: skip
        return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"
    start = b"event: error\n" if family == "anthropic" else b""
    return start + b"data: " + error.body(family) + b"\n\n"


def _num_ending(family: str) -> int:
    # Anthropic's stop reason comes in the last but one, OpenAI's before `[DONE]`.
    return 1 if family == "gemini" else 2


def _changed(event: bytes, kind: str) -> Iterator[bytes]:
    if kind == "keep_alive":
        yield from _KEEP_ALIVE
        yield event
    elif kind == "crlf":
        yield event.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    elif kind == "no_usage":
        yield from _event_without_usage(event)
    else:
        yield event


def _event_without_usage(event: bytes) -> Iterator[bytes]:
    head, _, data = event.rpartition(b"data: ")
    if data.startswith(b"[DONE]"):
        yield event
        return
    value = _strip(orjson.loads(data))
    if value.get("choices") != []:
        yield head + b"data: " + orjson.dumps(value) + b"\n\n"


def _without_usage(body: bytes) -> bytes:
    return orjson.dumps(_strip(orjson.loads(body)))


def _strip(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inside = ("message", "response")
    kept = {name: part for name, part in value.items() if name not in _USAGE_NAMES}
    return {name: _strip(part) if name in inside else part for name, part in kept.items()}


def _with_bad_bytes(body: bytes) -> bytes:
    """Two bytes that are never UTF-8, inside the last string value."""
    at = body.rfind(b'":"') + 3
    return body[:at] + b"\xff\xfe" + body[at:]
