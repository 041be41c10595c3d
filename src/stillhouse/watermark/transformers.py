"""Marks for `generate` of transformers: `model.generate(watermarking_config=...)`.

Importing it loads torch and transformers. transformers puts the processor of a watermarking config
behind temperature, top-k and nucleus, which is where a mark belongs; a processor that is given in
`logits_processor` runs before them, and there these marks would change what is drawn.

Letters: B batch, T tokens so far, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor
from transformers.generation.configuration_utils import BaseWatermarkingConfig

from stillhouse.errors import ConfigError
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._mark import LogitsMark
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._schemes import make_mark


@dataclass(frozen=True, slots=True)
class _Row:
    prompt_ids: tuple[int, ...]
    seed: int
    temperature: float = 1.0  # the scores have theirs already


class WatermarkingProfile(BaseWatermarkingConfig):
    """What `generate(watermarking_config=..., do_sample=True)` takes.

    With `do_sample=False` a processor cannot see that nothing is drawn: Gumbel marks would choose
    as at temperature 1. Beams share what a mark has seen and are not for marks either.

    Args:
        profile: How to mark.
        key: Its key. It is in no dictionary or JSON of this object.
        seeds: One for each row of a batch; None draws them from torch's generator.

    Raises:
        ConfigError: the key is not the profile's.
    """

    def __init__(
        self, profile: Profile, key: WatermarkKey, seeds: Sequence[int] | None = None
    ) -> None:
        self._profile = profile
        self._key = key
        self._seeds = seeds
        make_mark(profile, key)

    def validate(self) -> None:
        """Nothing is left to check."""

    def construct_processor(self, vocab_size: int, device: Any) -> LogitsProcessor:
        """A processor for one call of `generate`."""
        return WatermarkLogitsProcessor(make_mark(self._profile, self._key), self._seeds)

    def to_dict(self) -> dict[str, Any]:
        """What may be saved with a generation config: the profile's id."""
        return {"profile_id": self._profile.profile_id}

    def to_json_string(self) -> str:
        """The same as JSON."""
        return f'{{"profile_id": "{self._profile.profile_id}"}}\n'

    def __iter__(self) -> Any:
        return iter(self.to_dict().items())


class WatermarkLogitsProcessor(LogitsProcessor):
    """Marks a batch from its first call on: what that call is given is the prompt.

    Args:
        mark: One for this batch.
        seeds: One for each row; None draws them from torch's generator.
    """

    def __init__(self, mark: LogitsMark, seeds: Sequence[int] | None = None) -> None:
        self._mark = mark
        self._seeds = seeds
        self._rows: list[_Row] = []
        self._num_prompt_ids = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Marked scores, where a token that is chosen is the only finite one.

        Args:
            input_ids: (B, T) with the prompt.
            scores: (B, V) after temperature and nucleus; not changed.

        Raises:
            ConfigError: there are not as many seeds as rows.
        """
        if not self._rows:
            self._begin(input_ids)
        marked_BV = scores.clone()
        for place, row in enumerate(self._rows):
            logits_V = scores[place].float()
            given = self._mark(row, input_ids[place, self._num_prompt_ids :].tolist(), logits_V)
            if isinstance(given, int):
                marked_BV[place] = -torch.inf
                marked_BV[place, given] = 0.0
            else:
                marked_BV[place] = given.to(marked_BV)
        return marked_BV

    def _begin(self, input_ids: Tensor) -> None:
        seeds = self._seeds
        if seeds is None:
            seeds = torch.randint(1 << 62, (len(input_ids),)).tolist()
        if len(seeds) != len(input_ids):
            raise ConfigError(
                f"{len(seeds)} seeds were given for {len(input_ids)} rows. Give one for each."
            )
        self._num_prompt_ids = input_ids.shape[1]
        self._rows = [
            _Row(tuple(ids), seed) for ids, seed in zip(input_ids.tolist(), seeds, strict=True)
        ]
