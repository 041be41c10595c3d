"""distilabel: one `TextGeneration` step behind a loader, in its own processes.

python ask_distilabel.py URL PROMPTS OUT CONCURRENCY
"""

import json
import os
import sys
from pathlib import Path


def main(url: str, prompts: str, out: str, concurrency: str) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    rows = [json.loads(line) for line in Path(prompts).read_text().splitlines()]
    data = [{"id": row["id"], "instruction": row["prompt"]} for row in rows]
    with Pipeline(name="ask", cache_dir=str(Path(out) / "cache")) as pipeline:
        load = LoadDataFromDicts(data=data, batch_size=int(concurrency))
        ask = TextGeneration(
            llm=OpenAILLM(
                model="mock-small",
                base_url=f"{url}/v1",
                api_key="benchmark-key-0123456789",
                generation_kwargs={"max_new_tokens": 256},
            ),
            input_batch_size=int(concurrency),
        )
        load >> ask
    answers = pipeline.run(use_cache=False)["default"]["train"]
    answers.to_json(str(Path(out) / "answers.jsonl"))
    print(json.dumps({"num_answers": len(answers)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
