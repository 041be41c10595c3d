"""Whether a budget holds, whatever the calls turn out to cost: by the provider's own bill.

In each run a collection with a random cap, concurrency and lengths asks a mock provider with
prices, in a third of the runs together with a second one on the same ledger. The provider answers
in random time, and in some runs is hit by faults that it bills. What it billed in the end is
compared with the cap.
"""

import random
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks._collect.clients import write_prompts
from benchmarks._collect.options import Options
from tests.mock_provider import MockProvider

from stillhouse.collect import CollectConfig, collect
from stillhouse.errors import BudgetExceededError, TeacherError, TooManyFailuresError

_SEED = 20261124
_INPUT_USD, _OUTPUT_USD = 2.0, 8.0  # per million tokens
_NUM_PROMPTS = 60
_FAULTS = ("server_error:first=5", "cut:every=7", "lost:every=9")
_SAME_USD = 1e-12  # sums of floats in another order


def run(options: Options) -> dict[str, Any]:
    """The largest overshoot of all runs, and how they ended."""
    endings: Counter[str] = Counter()
    worst_usd, used = 0.0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / "prompts.jsonl", _NUM_PROMPTS)
        (folder / "prices.yaml").write_text(
            f"127.0.0.1/*: {{input: {_INPUT_USD}, output: {_OUTPUT_USD}}}\n"
        )
        for seed in range(options.num_budget_runs):
            cap_usd, billed_usd, ending = _run(folder, seed)
            endings[ending] += 1
            worst_usd = max(worst_usd, billed_usd - cap_usd)
            if ending == "BudgetExceededError":
                used.append(billed_usd / cap_usd)
    return {
        "num_runs": options.num_budget_runs,
        "endings": dict(sorted(endings.items())),
        "worst_overshoot_usd": worst_usd if worst_usd > _SAME_USD else 0.0,
        "mean_used_fraction": round(sum(used) / len(used), 4) if used else None,
    }


def _run(folder: Path, seed: int) -> tuple[float, float, str]:
    """The cap, what was billed, and how it ended."""
    draw = random.Random(_SEED + seed)
    cap_usd = draw.uniform(0.002, 0.04)
    most = draw.choice((30, 100, 200))
    settings = {
        "sampling": {"max_tokens": draw.choice((50, 150, 256))},
        "max_failure_fraction": 1.0,
        "access": {
            "budget_usd": cap_usd,
            "concurrency": draw.choice((1, 4, 16, 64)),
            "prices": str(folder / "prices.yaml"),
        },
    }
    with MockProvider(
        num_tokens=[1, most],
        latency={"first_s": 0.002, "spread": "exponential", "seed": seed},
        faults=draw.sample(_FAULTS, draw.choice((0, 0, 1))),
        requires_key=False,
        log="none",
    ) as mock:
        teacher = f"{mock.url}/v1#mock-small"
        outs = [folder / f"run-{seed}" / f"out-{at}" for at in range(draw.choice((1, 1, 2)))]
        with ThreadPoolExecutor(len(outs)) as pool:
            endings = list(pool.map(lambda out: _collect(folder, out, teacher, settings), outs))
        world = mock.world
        billed_usd = (
            world.paid_prompt_tokens * _INPUT_USD + world.paid_completion_tokens * _OUTPUT_USD
        ) / 1e6
    return cap_usd, billed_usd, min(endings)


def _collect(folder: Path, out: Path, teacher: str, settings: dict[str, Any]) -> str:
    try:
        collect(
            folder / "prompts.jsonl",
            out,
            teacher=teacher,
            config=CollectConfig.model_validate(settings),
        )
    except (BudgetExceededError, TooManyFailuresError, TeacherError) as error:
        return type(error).__name__
    return "complete"
