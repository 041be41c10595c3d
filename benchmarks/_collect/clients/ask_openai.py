"""The openai SDK as its users write it: AsyncOpenAI, `gather` under a semaphore, lines to a file.

python ask_openai.py URL PROMPTS OUT CONCURRENCY
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI


async def ask_all(url: str, prompts: Path, out: Path, concurrency: int) -> int:
    rows = [json.loads(line) for line in prompts.open(encoding="utf-8")]
    room = asyncio.Semaphore(concurrency)
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="benchmark-key-0123456789") as client:
        with (out / "answers.jsonl").open("w", encoding="utf-8") as answers:

            async def ask(row: dict[str, Any]) -> None:
                async with room:
                    completion = await client.chat.completions.create(
                        model="mock-small",
                        messages=[{"role": "user", "content": row["prompt"]}],
                        max_tokens=256,
                    )
                text = completion.choices[0].message.content
                answers.write(json.dumps({"id": row["id"], "answer": text}) + "\n")

            await asyncio.gather(*(ask(row) for row in rows))
    return len(rows)


if __name__ == "__main__":
    given_url, given_prompts, given_out, given_concurrency = sys.argv[1:]
    number = asyncio.run(
        ask_all(given_url, Path(given_prompts), Path(given_out), int(given_concurrency))
    )
    print(json.dumps({"num_answers": number}))
