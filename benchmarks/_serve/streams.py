"""Text on parallel streams: our server, transformers' generate, llama.cpp's server."""

import asyncio
import json
import secrets
from collections.abc import Callable
from time import perf_counter
from typing import Any

import aiohttp
from benchmarks._serve.options import ServeOptions
from benchmarks._serve.serving import serving

from stillhouse.models import (
    LlamaServing,
    embedded_gguf,
    load_model,
    read_gguf_header,
    start_llama_server,
)
from stillhouse.records import Message

STORY = "Write a long story about a {} who finds {}."
HEROES = ("baker", "sailor", "teacher", "farmer", "doctor", "painter", "gardener", "driver")
FINDS = ("an old map", "a lost dog", "a letter", "a key", "a hidden door", "a coin", "a violin")


def prompts(number: int) -> list[str]:
    """So many different prompts, for which long texts are written."""
    return [
        STORY.format(HEROES[place % len(HEROES)], FINDS[place % len(FINDS)])
        for place in range(number)
    ]


def measured(options: ServeOptions) -> dict[str, Any]:
    """Tokens a second of each, and ours as a multiple of the others'."""
    model = load_model("")
    path = embedded_gguf()
    key = secrets.token_hex(8)
    name = read_gguf_header(path).name
    llama = start_llama_server(
        path, LlamaServing(name=name, key=key, slots=options.streams, context=512)
    )
    best: dict[str, dict[str, float]] = {}
    slots = f"--slots={options.streams}"
    with serving("local:", slots) as port, serving(str(path), slots) as gguf_port:
        ways: dict[str, Callable[[], dict[str, float]]] = {
            "stillhouse": lambda: _over_http(f"http://127.0.0.1:{port}", "", options),
            "stillhouse, gguf": lambda: _over_http(f"http://127.0.0.1:{gguf_port}", "", options),
            "transformers": lambda: _in_batch(model, options),
            "llama.cpp": lambda: _over_http(llama.listening_address, key, options),
        }
        for _ in range(options.rounds):
            for who, way in ways.items():
                found = way()
                if found["tokens_per_s"] > best.get(who, {"tokens_per_s": 0.0})["tokens_per_s"]:
                    best[who] = found
    times = {
        mine: {
            who: best[mine]["tokens_per_s"] / best[who]["tokens_per_s"]
            for who in ("transformers", "llama.cpp")
        }
        for mine in ("stillhouse", "stillhouse, gguf")
    }
    return {"streams": options.streams, "tokens": options.tokens, "best": best, "times": times}


def _over_http(url: str, key: str, options: ServeOptions) -> dict[str, float]:
    """Tokens a second and the time to the first token, of chats that are streamed."""
    return asyncio.run(_chats(url, key, options))


async def _chats(url: str, key: str, options: ServeOptions) -> dict[str, float]:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        begun = perf_counter()
        told = await asyncio.gather(
            *(_chat(session, url, prompt, options) for prompt in prompts(options.streams))
        )
        seconds = perf_counter() - begun
    firsts = sorted(first for _, first in told)
    num_tokens = sum(number for number, _ in told)
    return {
        "tokens": num_tokens,
        "tokens_per_s": num_tokens / seconds,
        "first_token_s": firsts[len(firsts) // 2] - begun,
    }


async def _chat(
    session: aiohttp.ClientSession, url: str, prompt: str, options: ServeOptions
) -> tuple[int, float]:
    body = {
        "model": "any",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": options.tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    first, number = 0.0, 0
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if chunk.get("usage"):
                number = chunk["usage"]["completion_tokens"]
            choices = chunk["choices"]
            if not first and choices and choices[0]["delta"].get("content"):
                first = perf_counter()
    return number, first


def _in_batch(model: Any, options: ServeOptions) -> dict[str, float]:
    """The same prompts as one static batch, padded left; ended rows count up to their end."""
    import torch

    ids = [
        list(model.chat.encode_prompt([Message(role="user", content=prompt)]))
        for prompt in prompts(options.streams)
    ]
    width = max(map(len, ids))
    end = model.chat.end_of_turn_ids[0]
    padded = torch.tensor([[end] * (width - len(row)) + row for row in ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    begun = perf_counter()
    with torch.inference_mode():
        made = model.network.generate(
            padded,
            attention_mask=mask,
            max_new_tokens=options.tokens,
            do_sample=False,
            pad_token_id=end,
        )[:, width:]
    seconds = perf_counter() - begun
    ends = set(model.chat.end_of_turn_ids)
    num_tokens = sum(_until_end(row, ends) for row in made.tolist())
    return {"tokens": num_tokens, "tokens_per_s": num_tokens / seconds}


def _until_end(ids: list[int], ends: set[int]) -> int:
    """Tokens up to the end of the turn, it included."""
    places = [place for place, token_id in enumerate(ids) if token_id in ends]
    return places[0] + 1 if places else len(ids)
