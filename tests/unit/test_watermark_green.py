"""Green lists: who is green, at every temperature, and what a detector sees of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from watermark_cases import KEY, Row, profile_of

from stillhouse.watermark import context_hash, make_mark, score_tokens, token_uniforms
from stillhouse.watermark._green import _first_red
from stillhouse.watermark._prf import PrfName, uniforms

CONTEXT = [5, 6, 7, 8]


@pytest.mark.parametrize("gamma", [0.25, 0.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_green_tokens_gain_delta_and_no_others(gamma: float, temperature: float) -> None:
    profile = profile_of("kgw", parameters={"gamma": gamma, "delta": 3.0})
    logits = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    logits[100:200] = -torch.inf
    marked = make_mark(profile, KEY)(Row(temperature=temperature), CONTEXT, logits)
    assert isinstance(marked, torch.Tensor)
    contexts = np.array([context_hash(CONTEXT)], dtype=np.uint64)
    u = token_uniforms(contexts, np.arange(20_000), KEY.subkeys("green"))
    expected = logits + torch.from_numpy(np.where(u < gamma, np.float32(3.0), np.float32(0.0)))
    assert torch.equal(marked, expected)
    assert abs(float((u < gamma).mean()) - gamma) < 0.015


@pytest.mark.parametrize("prf", ["splitmix64-v1", "hmac-sha256-v1"])
def test_under_a_nucleus_its_green_tokens_gain_delta(prf: PrfName) -> None:
    logits = torch.full((20_000,), -torch.inf)
    logits[::1000] = torch.arange(20.0)
    marked = make_mark(profile_of("kgw", prf=prf), KEY)(Row(), CONTEXT, logits)
    assert isinstance(marked, torch.Tensor)
    contexts = np.array([context_hash(CONTEXT)], dtype=np.uint64)
    u = token_uniforms(contexts, np.arange(20_000), KEY.subkeys("green", prf=prf))
    expected = logits + torch.from_numpy(np.where(u < 0.25, np.float32(2.0), np.float32(0.0)))
    assert torch.equal(marked, expected)


def test_marked_text_is_green_and_other_text_is_not() -> None:
    profile = profile_of("kgw", parameters={"gamma": 0.25, "delta": 4.0}, context_width=1)
    mark, generator = make_mark(profile, KEY), torch.Generator().manual_seed(3)
    ids = [1]
    for _ in range(300):
        logits = mark(Row(), ids, torch.zeros(5000))
        assert isinstance(logits, torch.Tensor)
        ids.append(int(torch.multinomial(torch.softmax(logits, 0), 1, generator=generator)))
    expected = 0.25 * np.exp(4) / (0.25 * np.exp(4) + 0.75)
    assert abs(score_tokens(profile, KEY, ids).scores_N.mean() - expected) < 0.05
    plain = np.random.default_rng(1).integers(0, 5000, 5000)
    found = score_tokens(profile, KEY, plain)
    assert abs(found.scores_N.mean() - found.null.mean) < 0.03
    assert set(found.scores_N.tolist()) == {0.0, 1.0}


@settings(deadline=None, max_examples=300)
@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(-3, 3))
def test_green_is_what_the_detector_calls_green_to_the_last_bit(gamma: float, step: int) -> None:
    first_red = int(_first_red(gamma))
    near = [one for one in (first_red + (step << 12), first_red - 1) if 0 <= one < 1 << 64]
    hashes = np.array(near, dtype=np.uint64)
    assert ((hashes < np.uint64(first_red)) == (uniforms(hashes) < gamma)).all()
