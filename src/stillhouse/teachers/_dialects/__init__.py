"""The wire dialects: what to send and how to read what comes back, as pure functions.

A dialect opens no connection, waits for nothing and keeps no state.
"""

from stillhouse.teachers._dialects._anthropic import Anthropic
from stillhouse.teachers._dialects._decisions import Decisions
from stillhouse.teachers._dialects._gemini import Gemini
from stillhouse.teachers._dialects._openai_chat import OpenAIChat
from stillhouse.teachers._dialects._openai_responses import OpenAIResponses
from stillhouse.teachers._dialects._protocol import (
    BucketName,
    Dialect,
    LimitReading,
    MalformedAnswerError,
    Outcome,
    Quirks,
    Refusal,
    SseEvent,
    StreamAssembler,
    StreamRefusedError,
)
from stillhouse.teachers._dialects._refusals import read_refusal
from stillhouse.teachers._dialects._sse import SseParser

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini())
}
"""Every dialect of completions by its name: what applications speak."""

DECISIONS = Decisions()
"""The dialect of endpoints that choose among labels."""

__all__ = [
    "DIALECTS",
    "DECISIONS",
    "Dialect",
    "Quirks",
    "Outcome",
    "Refusal",
    "read_refusal",
    "LimitReading",
    "BucketName",
    "StreamAssembler",
    "SseParser",
    "SseEvent",
    "MalformedAnswerError",
    "StreamRefusedError",
]
