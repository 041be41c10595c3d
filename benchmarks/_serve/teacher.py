"""A teacher on a loopback port that answers after a fixed delay, and can be out in several ways.

    python -m benchmarks._serve.teacher --delay-ms 20 --answers ANSWERS.json

ANSWERS.json says what it answers to the last message; to others it says "nothing".

It speaks as much of OpenAI's Chat Completions as a cascade asks of a teacher. `POST /mode` with one
of the words below as its body changes how it is; it prints its port once it listens.
"""

import argparse
import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

MODES = ("ok", "refuse", "hang", "break")
"""Answers; answers 500; takes requests and is silent; breaks off in the middle of an answer."""


class Teacher:
    """Answers a text with what it was told to."""

    def __init__(self, answers: dict[str, str], delay_s: float) -> None:
        self._answers = answers
        self._delay_s = delay_s
        self._mode = "ok"

    async def change(self, request: web.Request) -> web.Response:
        """Be as the body says from here on."""
        self._mode = (await request.text()).strip()
        assert self._mode in MODES
        return web.json_response({"mode": self._mode})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One answer, streamed where that is asked for."""
        body = await request.json()
        said = self._answers.get(body["messages"][-1]["content"], "nothing")
        if self._mode == "refuse":
            return web.json_response({"error": {"message": "out of order"}}, status=500)
        if self._mode == "hang":
            await asyncio.sleep(3600)
        await asyncio.sleep(self._delay_s)
        usage = {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
        base = {"id": "chatcmpl-1", "created": 1, "model": "teacher"}
        if not body.get("stream"):
            message = {"role": "assistant", "content": said}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response(
                {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionError):  # who asked may have hung up
            await self._stream(request, response, base, said, usage)
        return response

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        base: dict[str, Any],
        said: str,
        usage: dict[str, int],
    ) -> None:
        await response.prepare(request)
        half = len(said) // 2
        pieces = [said[:half], said[half:]]
        for piece in pieces[: 1 if self._mode == "break" else 2]:
            await response.write(_chunk(base, {"content": piece}, None))
        if self._mode == "break":
            assert request.transport is not None
            request.transport.close()
            return
        await response.write(_chunk(base, {}, "stop"))
        last = {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        await response.write(b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n")
        await response.write_eof()


def _chunk(base: dict[str, Any], delta: dict[str, str], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {**base, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def listen(teacher: Teacher) -> None:
    """Serve until the process ends."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", teacher.answer)
    app.router.add_post("/mode", teacher.change)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay-ms", type=float, default=20.0)
    parser.add_argument("--answers", type=Path, required=True)
    given = parser.parse_args()
    answers = json.loads(given.answers.read_text(encoding="utf-8"))
    asyncio.run(listen(Teacher(answers, given.delay_ms / 1000)))


if __name__ == "__main__":
    main()
