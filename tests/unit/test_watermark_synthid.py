"""The tournament, and parity with transformers' processor of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from transformers import SynthIDTextWatermarkLogitsProcessor
from watermark_cases import KEY, Row, key_of, profile_of

from stillhouse.models._sampling import draw_ids
from stillhouse.watermark import (
    context_hash,
    make_mark,
    score_tokens,
    synthid_bits,
    synthid_keys,
    token_hashes,
)
from stillhouse.watermark._synthid_prf import sampling_table

WIDTH = 4
LAYERS = 30
PROBS = np.array([0.45, 0.2, 0.15, 0.1, 0.05, 0.03, 0.015, 0.005])


def theirs(history: int = 1024) -> SynthIDTextWatermarkLogitsProcessor:
    return SynthIDTextWatermarkLogitsProcessor(
        ngram_len=WIDTH + 1,
        keys=list(synthid_keys(KEY, LAYERS)),
        sampling_table_size=65_536,
        sampling_table_seed=0,
        context_history_size=history,
        device=torch.device("cpu"),
        skip_first_ngram_calls=True,
    )


def test_the_table_is_what_torch_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    expected = torch.randint(0, 2, (65_536,), generator=generator)
    assert np.array_equal(sampling_table(), expected.numpy())


def test_the_keys_of_layers_are_distinct_and_fit_into_63_bits() -> None:
    keys = synthid_keys(KEY, 52)
    assert len(set(keys)) == 52
    assert all(0 <= one < 1 << 63 for one in keys)
    assert keys[:30] == synthid_keys(KEY, 30)
    assert keys != synthid_keys(key_of(1), 52)


@pytest.mark.parametrize("vocabulary", [50, 4000])
def test_scores_are_those_of_transformers_token_by_token(vocabulary: int) -> None:
    """Repeated contexts too: a small vocabulary has many."""
    profile = profile_of("synthid", prf="synthid-v1", context_width=WIDTH)
    mark, other, row = make_mark(profile, KEY), theirs(), Row()
    generator = torch.Generator().manual_seed(vocabulary)
    ids: list[int] = []
    num_left = 0
    for place in range(60):
        logits = 3 * torch.randn(vocabulary, generator=generator)
        ours = mark(row, ids, logits)
        expected = other(torch.tensor([[1, *ids]]), logits.unsqueeze(0))[0]
        assert isinstance(ours, torch.Tensor)
        num_left += ours is logits
        expected = expected.masked_fill(expected <= torch.finfo(torch.float32).min, -torch.inf)
        torch.testing.assert_close(ours.softmax(0), expected.softmax(0), rtol=1e-4, atol=1e-7)
        # Theirs loses digits, and now and then the sign, where the ones of a layer weigh almost 1.
        likely = expected.softmax(0) > 1e-6
        torch.testing.assert_close(ours[likely], expected[likely], rtol=1e-4, atol=1e-3)
        ids.append(int(torch.randint(2 if place > 20 else vocabulary, (1,), generator=generator)))
    assert num_left > 8  # the first four, and contexts of two ids that came again


def test_bits_of_a_text_are_those_of_transformers() -> None:
    ids = np.random.default_rng(1).integers(0, 49_152, 500)
    profile = profile_of("synthid", prf="synthid-v1", context_width=WIDTH)
    expected = theirs().compute_g_values(torch.from_numpy(ids).unsqueeze(0))[0].numpy()
    assert np.array_equal(synthid_bits(profile, KEY, ids), expected)
    assert np.array_equal(score_tokens(profile, KEY, ids).scores_N, expected.sum(axis=1))


@pytest.mark.parametrize("layers", [1, 5, 30])
def test_over_keys_a_token_keeps_its_probability(layers: int) -> None:
    logits = torch.from_numpy(np.log(PROBS).astype(np.float32))
    profiles = [
        (profile_of("synthid", parameters={"layers": layers}, key_id=key_of(n).key_id), key_of(n))
        for n in range(1500)
    ]
    probs = np.stack(
        [
            torch.as_tensor(make_mark(one, key)(Row(), [1, 2, 3, 4], logits)).exp().numpy()
            for one, key in profiles
        ]
    ).astype(np.float64)
    assert np.allclose(probs.sum(axis=1), 1.0, atol=1e-4)
    z = (probs.mean(axis=0) - PROBS) / (probs.std(axis=0) / np.sqrt(len(probs)))
    assert np.abs(z[PROBS > 0.02]).max() < 4.0
    u = np.random.default_rng(layers).random(len(probs))
    drawn = (probs.cumsum(axis=1) < u[:, None]).sum(axis=1).clip(max=7)
    counts = np.bincount(drawn, minlength=8)
    statistic = ((counts - len(probs) * PROBS) ** 2 / (len(probs) * PROBS)).sum()
    assert chi2.sf(statistic, 7) > 1e-3


def test_marked_tokens_have_more_ones_and_others_half() -> None:
    profile = profile_of("synthid", parameters={"layers": 20}, context_width=1)
    mark, generator = make_mark(profile, KEY), torch.Generator().manual_seed(2)
    ids = [1]
    for _ in range(200):
        logits = mark(Row(), ids, torch.zeros(2000))
        assert isinstance(logits, torch.Tensor)
        ids.append(int(torch.multinomial(torch.softmax(logits, 0), 1, generator=generator)))
    assert score_tokens(profile, KEY, ids).scores_N.mean() > 13.0
    plain = np.random.default_rng(1).integers(0, 49_152, 20_000)
    found = score_tokens(profile, KEY, plain)
    assert abs(found.scores_N.mean() - 10.0) < 0.08
    assert abs(found.scores_N.var() - found.null.variance) < 0.25
    bits = synthid_bits(profile, KEY, plain)
    correlation = np.corrcoef(bits, rowvar=False) - np.eye(20)
    assert np.abs(correlation).max() < 0.035


def test_what_may_not_be_drawn_stays_so_and_greedy_tokens_are_left_alone() -> None:
    mark = make_mark(profile_of("synthid"), KEY)
    logits = torch.zeros(100)
    logits[:50] = -torch.inf
    given = mark(Row(), [1, 2, 3, 4], logits)
    assert isinstance(given, torch.Tensor)
    assert bool((given[:50] == -torch.inf).all())
    assert mark(Row(temperature=0.0), [1, 2, 3, 4], logits) is logits


def layer_by_layer(logits: torch.Tensor, context: int, layers: int) -> np.ndarray:
    """(V,) the law as the paper has it: each layer over the whole vocabulary, in float64."""
    contexts = np.array([context], dtype=np.uint64)
    hashes = token_hashes(contexts, np.arange(len(logits)), KEY.subkeys("synthid"))
    probs = torch.softmax(logits, dim=0).numpy().astype(np.float64)
    for layer in range(layers):
        bits = ((hashes >> np.uint64(63 - layer)) & np.uint64(1)).astype(np.float64)
        probs *= bits + max(0.0, 1.0 - (bits * probs).sum())
    return probs


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([2, 9, 300, 5000]),
    scale=st.sampled_from([0.0, 1.0, 6.0, 25.0]),
    share_cut=st.sampled_from([0.0, 0.3, 0.9, 0.999]),
    layers=st.sampled_from([1, 10, 11, 30, 52]),
)
def test_the_law_is_that_of_the_layers_one_by_one(
    seed: int, size: int, scale: float, share_cut: float, layers: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(size, generator=generator)
    cut = torch.rand(size, generator=generator) < share_cut
    cut[int(logits.argmax())] = False
    logits[cut] = -torch.inf
    ids = torch.randint(size, (4,), generator=generator).tolist()
    mark = make_mark(profile_of("synthid", parameters={"layers": layers}), KEY)
    ours = mark(Row(), ids, logits)
    assert isinstance(ours, torch.Tensor)
    assert torch.equal(ours == -torch.inf, cut)
    expected = layer_by_layer(logits, context_hash(ids), layers)
    found = ours.double().exp().numpy()
    # A softmax of float32 sums to 1 but for 1e-7: a layer's mass of zeros may be off by as much.
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-7)
    # What is given as 2**-120 weighs nothing: without it the same tokens are drawn.
    uniform = torch.rand(20, generator=generator, dtype=torch.float64)
    uniform[0] = 0.0
    drawn = [
        draw_ids(
            law.expand(20, -1),
            temperature_A=torch.ones(20),
            top_p_A=torch.ones(20, dtype=torch.float64),
            uniform_A=uniform,
        )
        for law in (ours, ours.masked_fill(ours < -83.0, -torch.inf))
    ]
    assert torch.equal(*drawn)


def test_under_a_nucleus_only_its_tokens_are_hashed() -> None:
    """With HMAC the whole vocabulary would take some 0.06 s."""
    logits = torch.full((49_152,), -torch.inf)
    logits[torch.tensor([7, 900, 49_000])] = torch.tensor([0.0, -1.0, -2.0])
    for prf in ("hmac-sha256-v1", "splitmix64-v1", "synthid-v1"):
        given = make_mark(profile_of("synthid", prf=prf), KEY)(Row(), [1, 2, 3, 4], logits)
        assert isinstance(given, torch.Tensor)
        assert torch.nonzero(given > -torch.inf).flatten().tolist() == [7, 900, 49_000]
        assert float(given.exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_logits_that_are_no_numbers_are_not_hidden() -> None:
    logits = torch.zeros(100)
    logits[3] = torch.nan
    logits[:3] = -torch.inf
    given = make_mark(profile_of("synthid"), KEY)(Row(), [1, 2, 3, 4], logits)
    assert isinstance(given, torch.Tensor)
    assert bool(given.isnan().any())
