"""Server-sent events."""

from typing import Any

import orjson


def event(value: dict[str, Any], name: str | None = None) -> bytes:
    """One event with JSON data."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + orjson.dumps(value) + b"\n\n"
