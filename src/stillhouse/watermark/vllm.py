r"""Marks for vLLM, as a logits processor of its engine v1.

    STILLHOUSE_WATERMARK=profile.json vllm serve MODEL \
        --logits-processors stillhouse.watermark.vllm:WatermarkLogitsProcessor

It marks every request, and none can switch it off. It is of the interface of vLLM's model runner V1
(vllm/v1/sample/logits_processor/interface.py) and ran inside vLLM 0.32.0 on a CPU. The runner V2,
which 0.32 takes by default where Triton is installed, refuses it (VLLM_USE_V2_MODEL_RUNNER=0 goes
back), and so does vLLM with speculative decoding. Numbers of the key are computed on the CPU.

Letters: B requests in a batch, V vocabulary.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.watermark._mark import LogitsMark
from stillhouse.watermark._open import open_watermark
from stillhouse.watermark._own_random import DRAWN_TOKEN, own_uniform

PROFILE_VARIABLE = "STILLHOUSE_WATERMARK"
"""Where the profile is; its key is in the folder of keys."""

_GREEDY = 1e-5  # vLLM takes lower temperatures for 0

if TYPE_CHECKING:
    _Base = object
else:
    try:
        from vllm.v1.sample.logits_processor import LogitsProcessor as _Base
    except ImportError:  # any engine with the same batches can use it
        _Base = object


@dataclass(frozen=True, slots=True)
class _Request:
    prompt_ids: tuple[int, ...]
    output_ids: Sequence[int]  # the engine's own list, which grows
    seed: int
    temperature: float
    top_p: float
    top_k: int


class WatermarkLogitsProcessor(_Base):
    """Marks the next token of each request in the batch.

    vLLM runs it after the temperature and before top-k and top-p. So it applies both itself, draws
    the token by its mark and leaves it as the only one that is possible.

    Args:
        vllm_config: Not used.
        device: Not used.
        is_pin_memory: Not used.
        mark: What marks; None opens the profile that `STILLHOUSE_WATERMARK` names.

    Raises:
        ConfigError: no profile is named, or it or its key cannot be used.
        SignatureError: the profile was changed.
    """

    def __init__(
        self,
        vllm_config: Any,
        device: Any,
        is_pin_memory: bool,
        *,
        mark: LogitsMark | None = None,
    ) -> None:
        self._mark = mark or open_watermark(_profile_path()).mark
        self._requests: dict[int, _Request] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """No field of a request has a say."""

    def is_argmax_invariant(self) -> bool:
        """True: vLLM then runs it after the temperature, and greedy requests stay unmarked."""
        return True

    def update_state(self, batch_update: Any) -> None:
        """Follow requests that came, went and moved, in the order that vLLM prescribes."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._requests.pop(index, None)
        for index, params, prompt_ids, output_ids in batch_update.added:
            self._requests[index] = _request(params, prompt_ids or (), output_ids)
        for first, second, direction in batch_update.moved:
            moved, other = self._requests.pop(first, None), self._requests.pop(second, None)
            if moved is not None:
                self._requests[second] = moved
            if other is not None and direction.name == "SWAP":
                self._requests[first] = other

    def apply(self, logits: Tensor) -> Tensor:
        """(B, V) logits at their temperatures, changed in place."""
        for index, request in self._requests.items():
            # An id below 0 stands for one that is not there yet: without it there is no context.
            if request.temperature < _GREEDY or (request.output_ids and request.output_ids[-1] < 0):
                continue
            law_V = nucleus(logits[index].float(), top_k=request.top_k, top_p=request.top_p)
            given = self._mark(request, request.output_ids, law_V)
            if given is law_V:
                continue
            token_id = given if isinstance(given, int) else _drawn(given, request)
            logits[index] = -torch.inf
            logits[index, token_id] = 0.0
        return logits


def nucleus(logits_V: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """The logits of what vLLM would draw from: -inf outside the likeliest k and the nucleus.

    Args:
        logits_V: At their temperature; not changed.
        top_k: 0 or -1 for all.
        top_p: Mass of the smallest set of likeliest tokens, after top-k.
    """
    if top_k <= 0 and top_p >= 1.0:
        return logits_V
    sorted_V, ids_V = logits_V.sort(descending=True, stable=True)
    size = top_k if 0 < top_k < len(sorted_V) else len(sorted_V)
    if top_p < 1.0:
        cumulative = torch.softmax(sorted_V[:size].double(), dim=0).cumsum(dim=0)
        size = min(size, int(torch.searchsorted(cumulative, top_p)) + 1)
    law_V = torch.full_like(logits_V, -torch.inf)
    law_V[ids_V[:size]] = sorted_V[:size]
    return law_V


def _drawn(logits_V: Tensor, request: _Request) -> int:
    cumulative = torch.softmax(logits_V.double(), dim=0).cumsum(dim=0)
    uniform = own_uniform(request.seed, DRAWN_TOKEN, len(request.output_ids))
    place = int(torch.searchsorted(cumulative, uniform * float(cumulative[-1]), right=True))
    return min(place, len(logits_V) - 1)


def _request(params: Any, prompt_ids: Sequence[int], output_ids: Sequence[int]) -> _Request:
    seed = secrets.randbits(62) if params.seed is None else int(params.seed)
    return _Request(
        prompt_ids=tuple(prompt_ids),
        output_ids=output_ids,
        seed=seed,
        temperature=float(params.temperature),
        top_p=float(params.top_p),
        top_k=int(params.top_k),
    )


def _profile_path() -> Path:
    given = os.environ.get(PROFILE_VARIABLE)
    if not given:
        raise ConfigError(
            f"{PROFILE_VARIABLE} is not set, so that nothing says how to mark. Set it to the file "
            "that `stillhouse watermark profile` wrote."
        )
    return Path(given)
