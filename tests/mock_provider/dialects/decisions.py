"""Typed decisions: one choice among options, with the probability of each."""

from typing import Any
from zlib import crc32

from tests.mock_provider.answers import Ask, Counts, Reply, plain
from tests.mock_provider.dialects import reading
from tests.mock_provider.dialects.openai_chat import CREATED, dated, usage
from tests.mock_provider.errors import ApiError

FIELDS = reading.names("model kind input options")
KINDS = ("choice", "predicate", "score")
SURE = 0.75
"""How probable the choice is; the other options share the rest evenly."""


def read(body: dict[str, Any]) -> Ask:
    """Read a request, or refuse it."""
    reading.only(body, FIELDS, "Unknown parameter: '{}'.")
    reading.need(body, "model", "kind", "input", "options")
    reading.one_of(body["kind"], "kind", KINDS)
    messages = body["input"].get("messages")
    if not messages:
        raise ApiError("invalid", "input.messages is empty.", param="input")
    options = body["options"]
    if not isinstance(options, list) or len(set(options)) < 2 or len(set(options)) < len(options):
        raise ApiError("invalid", "options must be two or more that differ.", param="options")
    texts = [message["content"] for message in messages]
    return Ask(
        model=reading.known_model(body["model"]),
        text=texts[-1],
        prompt_bytes=reading.num_bytes(*texts),
        num_messages=len(messages),
    )


def choice_of(text: str, options: list[str]) -> str:
    """What the mock chooses: by a hash of the text, directives left out."""
    return options[crc32(plain(text).encode()) % len(options)]


def reply_to(ask: Ask, options: list[str]) -> Reply:
    """The choice, which is counted as one token."""
    text = choice_of(ask.text, options)
    return Reply(text, (), "stop", Counts(ask.prompt_tokens, 1))


def answer(ask: Ask, reply: Reply, options: list[str]) -> dict[str, Any]:
    """The answer; decisions have no stream."""
    rest = (1.0 - SURE) / (len(options) - 1)
    return {
        "id": f"dec-{crc32(ask.text.encode()):08x}",
        "object": "decision",
        "model": dated(ask.model),
        "created": CREATED,
        "choice": reply.text,
        "probabilities": {option: SURE if option == reply.text else rest for option in options},
        "usage": usage([reply]),
    }
