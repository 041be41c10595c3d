"""Logs to scan: files that `import` reads as plain rows."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

TOPICS = ("refund", "delivery", "password", "invoice")
_OPENINGS = ("i want to ask about", "hello, there is a problem with", "can you help me with")
_DETAILS = ("my order", "the last message", "this account", "what you sent", "yesterday")


def asks(number: int) -> tuple[str, str]:
    """A text about one topic, and which."""
    digest = hashlib.sha256(str(number).encode()).digest()
    topic = TOPICS[digest[0] % len(TOPICS)]
    opening, detail = _OPENINGS[digest[1] % 3], _DETAILS[digest[2] % 5]
    return f"{opening} the {topic} of {detail}, case {number}", topic


def at_random(number: int) -> str:
    """One of the topics, which nothing in the text tells."""
    digest = hashlib.sha256(f"random {number}".encode()).digest()
    return TOPICS[digest[0] % len(TOPICS)]


def rows(
    count: int,
    *,
    answer: Callable[[int, str], str] = lambda number, topic: topic,
    prompt: Callable[[str], str] = lambda text: text,
    first: int = 0,
    **fields: Any,
) -> list[dict[str, Any]]:
    """Rows of a log; `answer` gets the row's number and its topic."""
    made = []
    for number in range(first, first + count):
        text, topic = asks(number)
        completion = answer(number, topic)
        made.append({"prompt": prompt(text), "completion": completion, "model": "m", **fields})
    return made


def write_log(path: Path, found: Iterable[dict[str, Any]]) -> Path:
    """The rows as JSON lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in found), encoding="utf-8")
    return path
