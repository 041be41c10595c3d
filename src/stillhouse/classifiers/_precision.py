"""What the products of a training are computed in."""

import contextlib
from typing import Any

import torch

from stillhouse.classifiers._configs import TrainingPrecision


def autocast(precision: TrainingPrecision) -> contextlib.AbstractContextManager[Any]:
    """Where the products inside the layers are rounded to `precision`."""
    if precision == "bfloat16" or (precision == "auto" and multiplies_bfloat16()):
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it; without them it is slower than float32.

    Older versions of torch do not tell, and count as without.
    """
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
