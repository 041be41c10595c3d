"""Raw asyncio: aiohttp and orjson, one line for each answer, no care for crashes.

python ask_aiohttp.py URL PROMPTS OUT CONCURRENCY
"""

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
import orjson

HEADERS = {"Authorization": "Bearer benchmark-key-0123456789", "Content-Type": "application/json"}


async def ask_all(url: str, prompts: Path, out: Path, concurrency: int) -> int:
    num_answers = 0
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        with prompts.open("rb") as rows, (out / "answers.jsonl").open("wb") as answers:

            async def work() -> None:
                nonlocal num_answers
                for line in rows:
                    row = orjson.loads(line)
                    body = {
                        "model": "mock-small",
                        "messages": [{"role": "user", "content": row["prompt"]}],
                        "max_tokens": 256,
                    }
                    async with session.post(
                        f"{url}/v1/chat/completions", data=orjson.dumps(body), headers=HEADERS
                    ) as response:
                        response.raise_for_status()
                        whole = orjson.loads(await response.read())
                    text = whole["choices"][0]["message"]["content"]
                    answers.write(orjson.dumps({"id": row["id"], "answer": text}) + b"\n")
                    num_answers += 1

            await asyncio.gather(*(work() for _ in range(concurrency)))
    return num_answers


if __name__ == "__main__":
    given_url, given_prompts, given_out, given_concurrency = sys.argv[1:]
    number = asyncio.run(
        ask_all(given_url, Path(given_prompts), Path(given_out), int(given_concurrency))
    )
    print(json.dumps({"num_answers": number}))
