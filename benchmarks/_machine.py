"""What every benchmark records about the machine it ran on."""

import os
import platform
import time
from pathlib import Path
from typing import Any

# Here, since every benchmark imports it, and before any stage of one asks or learns.
os.environ.setdefault("STILLHOUSE_TERMS", str(Path(__file__).parent / "terms.yaml"))

_ROWS, _INNER, _COLUMNS = 2048, 576, 4096  # the shapes of a student's MLP


def host() -> dict[str, Any]:
    """For what computes nothing: without torch."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
    }


def machine() -> dict[str, Any]:
    import torch
    import transformers

    return {
        **host(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "matmul_gflops": matmul_gflops(),
    }


def matmul_gflops() -> float:
    """What the machine gives at this moment: other figures mean little without it."""
    import torch

    a, b = torch.randn(_ROWS, _INNER), torch.randn(_INNER, _COLUMNS)
    best_s = float("inf")
    for _ in range(10):
        started_s = time.perf_counter()
        a @ b
        best_s = min(best_s, time.perf_counter() - started_s)
    return 2 * _ROWS * _INNER * _COLUMNS / best_s / 1e9
