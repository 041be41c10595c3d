"""Marks in `generate` of transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig
from watermark_cases import KEY, key_of, profile_of

from stillhouse.errors import ConfigError
from stillhouse.models._sampling import sampling_law
from stillhouse.watermark import make_mark, score_tokens
from stillhouse.watermark.transformers import WatermarkingProfile, WatermarkLogitsProcessor

PROMPTS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12], [5, 6, 7, 8]])
SEEDS = (3, 4, 5)


@pytest.fixture(scope="module")
def network(tiny_folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(tiny_folder).eval()


@pytest.mark.parametrize("scheme", ["gumbel", "dual_gumbel", "kgw", "synthid"])
def test_what_is_generated_carries_the_mark(network: torch.nn.Module, scheme: str) -> None:
    profile = profile_of(scheme, context_width=2)
    ratios = {}
    for name, config in (("marked", WatermarkingProfile(profile, KEY, SEEDS)), ("plain", None)):
        torch.manual_seed(1)
        ids = network.generate(  # type: ignore[operator]
            PROMPTS,
            watermarking_config=config,
            do_sample=True,
            temperature=0.9,
            top_p=0.95,
            max_new_tokens=60,
            min_new_tokens=60,
            pad_token_id=0,
        )[:, 4:]
        found = [score_tokens(profile, KEY, row.numpy()) for row in ids]
        scores = np.concatenate([one.scores_N for one in found])
        ratios[name] = scores.mean() / found[0].null.mean
    assert ratios["marked"] > max(1.05, ratios["plain"] + 0.03)
    assert 0.75 < ratios["plain"] < 1.25


def test_it_chooses_what_the_mark_chooses_and_only_that() -> None:
    profile = profile_of(context_width=2)
    processor = WatermarkLogitsProcessor(make_mark(profile, KEY), SEEDS)
    logits = torch.randn(3, 100, generator=torch.Generator().manual_seed(1))
    assert torch.equal(processor(PROMPTS, logits), logits)  # no context yet
    ids = torch.cat([PROMPTS, torch.tensor([[1, 2], [3, 4], [1, 2]])], dim=1)
    marked = processor(ids, logits)
    allowed = [torch.nonzero(row > -torch.inf).flatten().tolist() for row in marked]
    assert [len(one) for one in allowed] == [1, 1, 1]
    again = WatermarkLogitsProcessor(make_mark(profile, KEY), SEEDS)
    again(PROMPTS, logits)
    assert torch.equal(again(ids, logits), marked)
    repeated = torch.cat([ids, torch.tensor([[1, 2], [3, 4], [5, 6]])], dim=1)
    left = processor(repeated, logits)
    assert torch.equal(left[:2], logits[:2])  # their context was there before
    assert not torch.equal(left[2], logits[2])


def test_it_runs_after_temperature_and_nucleus(network: torch.nn.Module) -> None:
    seen: list[torch.Tensor] = []

    def watch(row: object, previous_ids: object, logits_V: torch.Tensor) -> torch.Tensor:
        seen.append(logits_V.clone())
        return logits_V

    class Watching(WatermarkingProfile):
        def construct_processor(self, vocab_size: int, device: object) -> WatermarkLogitsProcessor:
            return WatermarkLogitsProcessor(watch, (1,))

    network.generate(  # type: ignore[operator]
        PROMPTS[:1],
        watermarking_config=Watching(profile_of(), KEY),
        do_sample=True,
        temperature=0.5,
        top_p=0.7,
        top_k=0,
        max_new_tokens=1,
        pad_token_id=0,
    )
    with torch.no_grad():
        logits_V = network(PROMPTS[:1]).logits[0, -1]
    expected = sampling_law(logits_V, temperature=0.5, top_p=0.7)
    torch.testing.assert_close(seen[0].softmax(0), expected.softmax(0), atol=1e-5, rtol=1e-4)


def test_the_key_does_not_go_into_a_saved_config(tmp_path: Path) -> None:
    config = GenerationConfig(watermarking_config=WatermarkingProfile(profile_of(), KEY))
    config.save_pretrained(tmp_path)
    saved = (tmp_path / "generation_config.json").read_text()
    assert profile_of().profile_id in saved
    for secret in (KEY.secret.hex(), repr(KEY.secret), str(list(KEY.secret))):
        assert secret not in saved
        assert secret not in repr(config)


def test_another_key_or_number_of_seeds_is_refused() -> None:
    with pytest.raises(ConfigError, match="Give the key that the profile was made with"):
        WatermarkingProfile(profile_of(), key_of(1))
    processor = WatermarkLogitsProcessor(make_mark(profile_of(), KEY), (1, 2))
    with pytest.raises(ConfigError, match="2 seeds were given for 3 rows"):
        processor(PROMPTS, torch.zeros(3, 100))
