"""What an assembler gives of an answer's text while the stream goes on."""

import json
from typing import Any

import pytest

from stillhouse.teachers._dialects import DIALECTS, SseEvent

CHAT: list[Any] = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]},
    {"choices": [{"index": 0, "delta": {"content": "One "}}]},
    {"choices": [{"index": 1, "delta": {"content": "another"}}]},
    {"choices": [{"index": 0, "delta": {"content": "river."}, "finish_reason": "stop"}]},
]
PARTS: list[Any] = [
    {"choices": [{"index": 0, "delta": {"content": "One "}}]},
    {
        "choices": [
            {
                "index": 0,
                "delta": {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                        {"type": "text", "text": "ri"},
                    ]
                },
            }
        ]
    },
    {"choices": [{"index": 0, "delta": {"content": "ver."}, "finish_reason": "stop"}]},
]
RESPONSES: list[Any] = [
    {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
    {"type": "response.output_text.delta", "delta": "One "},
    {"type": "response.output_text.delta", "delta": "river."},
    {"type": "response.output_text.done", "text": "One river."},
]
ANTHROPIC: list[Any] = [
    {"type": "message_start", "message": {}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "thinking_delta", "thinking": "hm"},
    },
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "One "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "river."}},
]
GEMINI: list[Any] = [
    {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]},
    {"candidates": [{"content": {"parts": [{"text": "One "}]}}]},
    {"candidates": [{"content": {"parts": [{"text": "river."}]}, "finishReason": "STOP"}]},
]


@pytest.mark.parametrize(
    ("dialect", "events"),
    [
        ("openai_chat", CHAT),
        ("openai_chat", PARTS),
        ("openai_responses", RESPONSES),
        ("anthropic", ANTHROPIC),
        ("gemini", GEMINI),
    ],
    ids=["chat", "parts", "responses", "anthropic", "gemini"],
)
def test_text_is_given_once_as_it_comes_and_no_reasoning_is(
    dialect: str, events: list[Any]
) -> None:
    assembler = DIALECTS[dialect].assembler()
    taken = []
    for event in events:
        assembler.feed(SseEvent("message", json.dumps(event)))
        taken.append(assembler.take_text())
    assert "".join(taken) == "One river."
    assert len([text for text in taken if text]) > 1
    assert assembler.take_text() == ""
