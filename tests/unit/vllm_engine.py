"""A program that writes marked texts with vLLM itself and tells what happened as JSON.

    python vllm_engine.py MODEL_FOLDER REQUESTS.json [async]

It is a process of its own: vLLM reads its settings when it is imported, and warns as it likes.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",  # what the processor sees can be told from this process
    VLLM_USE_V2_MODEL_RUNNER="0",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_CPU_OMP_THREADS_BIND="nobind",
    VLLM_NO_USAGE_STATS="1",
    VLLM_LOGGING_LEVEL="ERROR",
    HF_HUB_OFFLINE="1",
)

from vllm import LLM, SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

from stillhouse.watermark.vllm import WatermarkLogitsProcessor

SEEN: Counter[str] = Counter()


class Watched(WatermarkLogitsProcessor):
    """Counts what vLLM tells of its batch."""

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        SEEN["steps"] += 1
        if batch_update is not None:
            SEEN["added"] += len(batch_update.added)
            SEEN["removed"] += len(batch_update.removed)
            SEEN.update(direction.name for _, _, direction in batch_update.moved)
        super().update_state(batch_update)


def main(model: Path, requests: Path, is_async: bool) -> None:
    """Write all texts, four at a time; `is_async` plans a step before the last one has ended."""
    given = json.loads(requests.read_text())
    engine = LLM(
        model=str(model),
        dtype="float32",
        enforce_eager=True,
        max_model_len=256,
        max_num_seqs=4,
        async_scheduling=is_async,
        disable_log_stats=True,
        logits_processors=[Watched],
    )
    written = engine.generate(
        [{"prompt_token_ids": one["prompt_ids"]} for one in given],
        [SamplingParams(**one["sampling"]) for one in given],
        use_tqdm=False,
    )
    found = {
        "is_theirs": issubclass(WatermarkLogitsProcessor, LogitsProcessor),
        "seen": SEEN,
        "ids": [list(one.outputs[0].token_ids) for one in written],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["async"])
