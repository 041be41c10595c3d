"""How much of a row's texts is kept; in the writer's thread, before the row is written."""

import hashlib
from collections.abc import Callable
from typing import Any

from stillhouse.records import content_hash
from stillhouse.servicelog._config import LogContent

Scrub = Callable[[list[str]], list[str]]
"""Texts of one row with personal data replaced, under one numbering."""

_ANSWERS = ("answers",)
_ANSWER = ("given", "answer")
_SAMPLING = ("temperature", "top_p", "max_tokens")


def prepared(row: dict[str, Any], content: LogContent, scrub: Scrub | None) -> dict[str, Any]:
    """`row` with as much of its texts as is kept.

    What the caller was told in an error may quote the request: it is content too.
    """
    if content == "full":
        return row if scrub is None else _scrubbed(row, scrub)
    return hidden(row, has_hashes=content == "hash")


def hidden(row: dict[str, Any], *, has_hashes: bool) -> dict[str, Any]:
    """`row` without any text; with the SHA-256 of each where they are wanted."""
    row = {**row, "asked": _hidden_asked(row.get("asked"), has_hashes)}
    for name in _ANSWERS:
        if name in row:
            row[name] = [_hidden_answer(answer, has_hashes) for answer in row[name]]
    for name in _ANSWER:
        if name in row:
            row[name] = _hidden_answer(row[name], has_hashes)
    if row.get("error") is not None:
        row["error"] = None
    return row


def _hidden_asked(asked: dict[str, Any] | None, has_hashes: bool) -> dict[str, Any] | None:
    if asked is None:
        return None
    kept = {name: asked[name] for name in _SAMPLING if name in asked}
    if has_hashes:
        words = {name: value for name, value in asked.items() if name not in _SAMPLING}
        kept["sha256"] = content_hash(words)
    return kept


def _hidden_answer(answer: dict[str, Any], has_hashes: bool) -> dict[str, Any]:
    kept = {name: value for name, value in answer.items() if name != "text"}
    if has_hashes and answer.get("text") is not None:
        kept["sha256"] = hashlib.sha256(answer["text"].encode("utf-8", "replace")).hexdigest()
    return kept


def _scrubbed(row: dict[str, Any], scrub: Scrub) -> dict[str, Any]:
    """All texts of the row in one go, so that what is equal gets the same placeholder."""
    found: list[str] = []

    def find(text: str) -> str:
        found.append(text)
        return text

    _each_text(row, find)
    cleaned = scrub(found)
    if cleaned == found:
        return row
    rest = iter(cleaned)
    return _each_text(row, lambda _: next(rest))


def _each_text(row: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A copy of `row` in which `change` has been called with each text, in a fixed order."""
    row = dict(row)
    if (asked := row.get("asked")) is not None:
        asked = dict(asked)
        asked["messages"] = [_message(message, change) for message in asked.get("messages", ())]
        if asked.get("text") is not None:
            asked["text"] = change(asked["text"])
        row["asked"] = asked
    for name in _ANSWERS:
        if name in row:
            row[name] = [_answer(answer, change) for answer in row[name]]
    for name in _ANSWER:
        if name in row:
            row[name] = _answer(row[name], change)
    if row.get("error"):
        row["error"] = change(row["error"])
    return row


def _message(message: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    message = {**message, "content": change(message["content"])}
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [{**call, "arguments": change(call["arguments"])} for call in calls]
    return message


def _answer(answer: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    if answer.get("text") is None:
        return answer
    return {**answer, "text": change(answer["text"])}
