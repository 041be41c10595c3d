"""Bespoke Curator: `curator.LLM`, its own cache folder, no display and no telemetry.

    python ask_curator.py URL PROMPTS OUT CONCURRENCY

Its token counter wants a vocabulary from the network and dies without; litellm, which it depends
on, brings the one of gpt-4 along.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def prepare(out: str) -> None:
    found = find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    os.environ["TIKTOKEN_CACHE_DIR"] = str(
        Path(found.origin).parent / "litellm_core_utils" / "tokenizers"
    )
    os.environ["CURATOR_CACHE_DIR"] = out
    os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"
    os.environ["TELEMETRY_ENABLED"] = "0"
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["OPENAI_API_KEY"] = "benchmark-key-0123456789"


def main(url: str, prompts: str, out: str, concurrency: str) -> None:
    prepare(out)
    from bespokelabs import curator

    class Asker(curator.LLM):  # type: ignore[misc]
        def prompt(self, row: dict[str, Any]) -> str:
            return str(row["prompt"])

        def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
            return {"id": row["id"], "answer": response}

    asker = Asker(
        model_name="gpt-4",
        backend="openai",
        generation_params={"max_tokens": 256},
        backend_params={
            "base_url": f"{url}/v1",
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 100_000_000_000,
            "max_concurrent_requests": int(concurrency),
            "require_all_responses": True,
        },
    )
    answers = asker([json.loads(line) for line in Path(prompts).read_text().splitlines()])
    answers = getattr(answers, "dataset", answers)
    answers.to_json(str(Path(out) / "answers.jsonl"))
    print(json.dumps({"num_answers": len(answers)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
