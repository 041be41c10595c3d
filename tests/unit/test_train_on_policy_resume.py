"""A run on texts of the student's own ends with the same bits, wherever it was stopped."""

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from on_policy_cases import MAX_TOKENS, live_settings
from test_train_resume import (
    NEVER_S,
    assert_same_run,
    kill_at,
    learn,
    saved_steps,
    start_child,
    stop_at,
)
from tiny_chain import Chain, metrics_of

from stillhouse.runlog import Progress
from stillhouse.train import TrainConfig

torch.set_num_threads(1)

METHODS: dict[str, dict[str, Any]] = {
    "rollouts": {"rollout": {"max_tokens": MAX_TOKENS, "refresh_steps": 3}},
    "policy gradient": {
        "objective": "policy_gradient_gated",
        "rollout": {"max_tokens": MAX_TOKENS, "refresh_steps": 5, "future_discount": 0.5},
    },
    "policy gradient with a baseline": {
        "objective": "policy_gradient_truncated",
        "rollout": {"max_tokens": MAX_TOKENS, "refresh_steps": 3, "baseline": "position"},
    },
    "distillm2": {
        "source": "pairs",
        "objective": "distillm2",
        "rollout": {"max_tokens": MAX_TOKENS, "refresh_steps": 3},
    },
    "hidden states": {
        "keep_layers": None,
        "prune": {"layers": 2, "hidden": 24},
        "rollout": {"max_tokens": MAX_TOKENS, "refresh_steps": 3},
        "match": {"layers": [[0, 1], [-1, -1]], "weight": 0.5},
    },
    "mixed": {"source": "mixed", "rollout": {"max_tokens": MAX_TOKENS, "refresh_steps": 2}},
    "speculative": {
        "source": "speculative",
        "objective": "forward_kl",
        "rollout": {"max_tokens": 6, "refresh_steps": 4, "block_tokens": 3},
    },
}


@pytest.mark.parametrize("name", METHODS)
def test_ctrl_c_in_the_middle_of_a_buffer_keeps_what_was_drawn(
    chain: Chain, tmp_path: Path, name: str
) -> None:
    config = live_settings(chain, checkpoint_s=NEVER_S, **METHODS[name])
    whole = learn(chain, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        learn(chain, tmp_path / "s", config, on_progress=stop_at(5, KeyboardInterrupt()))
    assert saved_steps(tmp_path / "s") == ["step-5"]
    assert_same_run(learn(chain, tmp_path / "s", config), whole)
    # Step 4, after which the run stopped, is inside a window of each of these methods but one.
    ages = [line["train/rollout_age_steps"] for line in metrics_of(whole)]
    refresh_steps = config.rollout.refresh_steps
    assert ages == [step % refresh_steps for step in range(8)]


def killed_twice(chain: Chain, out: Path, config: TrainConfig, seed: str) -> None:
    moments = random.Random(seed)
    for earliest in (2, 8):
        kill_at(start_child(chain, out, config), out, moments.randint(earliest, earliest + 5))


KILLED = [
    "rollouts",
    "hidden states",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("policy gradient", "policy gradient with a baseline", "distillm2")
    ),
]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("name", KILLED)
def test_a_killed_process_draws_nothing_anew(chain: Chain, tmp_path: Path, name: str) -> None:
    config = live_settings(chain, epochs=8.0, checkpoint_s=0.0, **METHODS[name])
    whole = learn(chain, tmp_path / "whole", config)
    out = tmp_path / "s"
    killed_twice(chain, out, config, name)
    told: list[Progress] = []
    learn(chain, out, config, on_progress=told.append)
    assert told[0].done > 0
    assert_same_run(out, whole)
