"""OpenAI's Completions: text that is continued as it is."""

from collections.abc import AsyncIterator, Sequence
from time import time
from typing import Any

from stillhouse.serve._ask import Answering, Ask, TokenScore
from stillhouse.serve._chat import usage, wants_usage
from stillhouse.serve._fields import flag, number, texts, whole_number, wrong
from stillhouse.serve._openai_common import (
    MAX_CHOICES,
    MAX_SEED,
    MAX_STOPS,
    MAX_TOKENS,
    new_id,
    read_top_p,
)
from stillhouse.serve._replies import deltas, whole
from stillhouse.serve._sse import event

_DEFAULT_TOKENS = 16  # as the protocol has it
MOST_LOGPROBS = 5
"""As in the protocol."""


def read_ask(fields: dict[str, Any]) -> Ask:
    """What a request asks; a list of prompts may have one.

    Raises:
        RefusedError: a field is wrong.
    """
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise wrong("prompt", prompt, "one text")
    if flag(fields, "echo"):
        raise wrong("echo", True, "false: prompts are not repeated")
    if fields.get("suffix") not in (None, ""):
        raise wrong("suffix", fields["suffix"], "null: texts are continued, not filled in")
    wants_usage(fields)  # said before anything is generated, if it is wrong
    return Ask(
        text=prompt,
        num_choices=whole_number(fields, "n", 1, 1, MAX_CHOICES) or 1,
        max_tokens=whole_number(fields, "max_tokens", _DEFAULT_TOKENS, 1, MAX_TOKENS),
        temperature=number(fields, "temperature", 1.0, 0.0, 2.0),
        top_p=read_top_p(fields),
        seed=whole_number(fields, "seed", None, -MAX_SEED, MAX_SEED),
        top_logprobs=whole_number(fields, "logprobs", None, 0, MOST_LOGPROBS),
        stop=texts(fields, "stop", MAX_STOPS),
    )


async def answer(answering: Answering, ask: Ask, model: str) -> dict[str, Any]:
    """The whole answer."""
    replies = await whole(answering, ask)
    choices = [
        {
            "index": reply.index,
            "text": reply.text,
            "logprobs": None if ask.top_logprobs is None else _logprobs(reply.scores, 0),
            "finish_reason": reply.finish_reason,
        }
        for reply in replies
    ]
    num_tokens = sum(reply.num_tokens for reply in replies)
    return {**_base(model), "choices": choices, "usage": usage(answering, num_tokens)}


async def stream(
    answering: Answering, ask: Ask, model: str, fields: dict[str, Any]
) -> AsyncIterator[bytes]:
    """The answer as server-sent events."""
    has_usage = wants_usage(fields)
    base = _base(model)
    nothing = {"usage": None} if has_usage else {}
    num_tokens, num_chars = [0] * ask.num_choices, [0] * ask.num_choices
    async for delta in deltas(answering, ask):
        num_tokens[delta.index] = delta.num_tokens
        told = None
        if delta.scores:
            told = _logprobs(delta.scores, num_chars[delta.index])
            num_chars[delta.index] += sum(len(score.text) for score in delta.scores)
        choice = {
            "index": delta.index,
            "text": delta.text,
            "logprobs": told,
            "finish_reason": delta.finish_reason,
        }
        yield event({**base, "choices": [choice], **nothing})
    if has_usage:
        yield event({**base, "choices": [], "usage": usage(answering, sum(num_tokens))})
    yield b"data: [DONE]\n\n"


def _base(model: str) -> dict[str, Any]:
    return {
        "id": new_id("cmpl-"),
        "object": "text_completion",
        "created": int(time()),
        "model": model,
    }


def _logprobs(scores: Sequence[TokenScore], start: int) -> dict[str, Any]:
    offsets = []
    for score in scores:
        offsets.append(start)
        start += len(score.text)
    return {
        "tokens": [score.text for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [{top.text: top.logprob for top in score.top} for score in scores],
        "text_offset": offsets,
    }
