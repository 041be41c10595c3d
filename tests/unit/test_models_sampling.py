"""Draws follow the distribution they claim, and what is kept of it is exact."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from stillhouse.models._sampling import Drawn, draw, draw_ids, exact_topk, sampling_law


def random_logits(rows: int, vocabulary: int, *, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, vocabulary, generator=generator)


def draw_all(
    logits_AV: Tensor,
    uniforms: Tensor | float,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
) -> Drawn:
    rows = len(logits_AV)
    return draw(
        logits_AV,
        temperature_A=torch.full((rows,), temperature),
        top_p_A=torch.full((rows,), top_p, dtype=torch.float64),
        uniform_A=torch.as_tensor(uniforms, dtype=torch.float64).expand(rows),
        top_k=top_k,
    )


def repeated(row_V: Tensor, times: int) -> Tensor:
    return row_V.unsqueeze(0).expand(times, -1)


@pytest.mark.parametrize("vocabulary", [1, 63, 64, 65, 640, 1000, 4097])
@pytest.mark.parametrize("k", [1, 5, 32, 64])
def test_top_k_is_that_of_torch(vocabulary: int, k: int) -> None:
    logits = random_logits(7, vocabulary)
    k = min(k, vocabulary)
    values, ids = exact_topk(logits, k)
    wanted = torch.topk(logits, k, dim=1)
    assert torch.equal(values, wanted.values)
    assert torch.equal(ids, wanted.indices)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(60, 1500))
def test_top_k_with_ties_keeps_the_right_values(seed: int, k: int, vocabulary: int) -> None:
    logits = random_logits(3, vocabulary, seed=seed).round()  # about 20 distinct values
    values, ids = exact_topk(logits, k)
    assert torch.equal(values, torch.topk(logits, k, dim=1).values)
    assert torch.equal(logits.gather(1, ids), values)
    assert all(len(set(row)) == k for row in ids.tolist())


def test_the_largest_may_be_in_one_block_or_after_the_last_whole_one() -> None:
    logits = torch.zeros(2, 64 * 10 + 3)
    logits[0, 64:128] = torch.arange(1.0, 65.0)
    logits[1, -3:] = torch.tensor([1.0, 3.0, 2.0])
    assert exact_topk(logits, 5)[1][0].tolist() == [127, 126, 125, 124, 123]
    assert exact_topk(logits, 3)[1][1].tolist() == [641, 642, 640]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("vocabulary", [20, 700])
def test_draws_follow_the_tempered_distribution(temperature: float, vocabulary: int) -> None:
    # With 700 tokens at temperature 2.5, a third of the mass is beyond the 64 candidates.
    row_V = random_logits(1, vocabulary, seed=1)[0]
    times = 4_000
    uniforms = torch.from_numpy(np.random.Generator(np.random.Philox(5)).random(times))
    ids = draw_all(repeated(row_V, times), uniforms, temperature=temperature).ids_A
    counts = np.bincount(ids.numpy(), minlength=vocabulary)
    expected = torch.softmax(row_V.double() / temperature, dim=0).numpy() * times
    frequent = expected >= 5
    observed = np.append(counts[frequent], counts[~frequent].sum())
    wanted = np.append(expected[frequent], expected[~frequent].sum())
    if wanted[-1] < 5:  # too rare together as well
        observed = np.append(observed[:-2], observed[-2:].sum())
        wanted = np.append(wanted[:-2], wanted[-2:].sum())
    assert stats.chisquare(observed, wanted).pvalue > 0.01


@pytest.mark.parametrize("vocabulary", [50, 700])
def test_the_draw_inverts_the_cumulative_distribution(vocabulary: int) -> None:
    row_V = random_logits(1, vocabulary, seed=2, scale=1.0)[0]
    order = row_V.argsort(descending=True)
    cumulative = torch.softmax(row_V.double(), dim=0)[order].cumsum(0)
    uniforms = torch.linspace(0.0, 0.999, 97, dtype=torch.float64)
    found = draw_all(repeated(row_V, 97), uniforms).ids_A
    wanted = order[torch.searchsorted(cumulative, uniforms, right=True)]
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("vocabulary", [4, 700])
def test_the_extremes_of_the_uniform_are_the_first_and_the_last_token(vocabulary: int) -> None:
    row_V = -torch.arange(float(vocabulary)) * (1.0 if vocabulary == 4 else 1e-3)
    assert draw_all(row_V[None], 0.0).ids_A.item() == 0
    assert draw_all(row_V[None], 0.999999).ids_A.item() == vocabulary - 1


HAND = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


@pytest.mark.parametrize(
    ("top_p", "nucleus"),
    [
        (0.1, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.69, [1, 3]),
        (0.71, [1, 3, 2]),
        (0.95, [1, 3, 2, 0]),
        (1.0, [1, 3, 2, 0]),
    ],
)
def test_the_nucleus_by_hand(top_p: float, nucleus: list[int]) -> None:
    probabilities = [[0.1, 0.4, 0.2, 0.3][token] for token in nucleus]
    times = 1_000
    uniforms = (torch.arange(times, dtype=torch.float64) + 0.5) / times
    ids = draw_all(repeated(HAND, times), uniforms, top_p=top_p).ids_A.tolist()
    shares = [ids.count(token) / times for token in nucleus]
    assert set(ids) == set(nucleus)
    wanted = np.array(probabilities) / sum(probabilities)
    assert shares == pytest.approx(wanted.tolist(), abs=2e-3)


def test_a_nucleus_beyond_the_candidates_is_exact_too() -> None:
    row_V = random_logits(1, 2_000, seed=3, scale=0.5)[0]
    order = row_V.argsort(descending=True)
    cumulative = torch.softmax(row_V.double(), dim=0)[order].cumsum(0)
    size = int(torch.searchsorted(cumulative, 0.8)) + 1
    assert 64 < size < 2_000
    uniforms = torch.linspace(0.0, 0.9999, 200, dtype=torch.float64)
    found = draw_all(repeated(row_V, 200), uniforms, top_p=0.8).ids_A
    inside = cumulative[:size] / cumulative[size - 1]
    assert torch.equal(found, order[torch.searchsorted(inside, uniforms, right=True)])
    assert found[-1] == order[size - 1]


def test_the_nucleus_is_taken_after_the_temperature() -> None:
    # At temperature 0.5 the four have 0.16, 0.09, 0.04 and 0.01 of 0.30.
    ids = draw_all(repeated(HAND, 50), torch.linspace(0, 0.99, 50), temperature=0.5, top_p=0.5)
    assert set(ids.ids_A.tolist()) == {1}


def test_temperature_zero_takes_the_likeliest_whatever_the_uniform() -> None:
    logits = random_logits(9, 700)
    found = draw_all(logits, torch.linspace(0, 0.99, 9), temperature=0.0, top_p=0.3).ids_A
    assert torch.equal(found, logits.argmax(1))


def test_a_low_temperature_does_not_lose_the_distribution_to_rounding() -> None:
    # Two tokens one temperature apart: odds of e to 1, on logits that differ by 1 in 3 million.
    row_V = torch.full((100,), -50.0)
    row_V[7], row_V[3] = 30.0, 30.0 - 1e-5
    temperature = 1e-5
    share = 1 / (1 + np.exp(-float(row_V[7] - row_V[3]) / temperature))
    uniforms = torch.linspace(0, 0.9999, 1_000, dtype=torch.float64)
    ids = draw_all(repeated(row_V, 1_000), uniforms, temperature=temperature).ids_A
    assert (ids == 7).double().mean().item() == pytest.approx(share, abs=2e-3)
    assert set(ids.tolist()) == {3, 7}


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 3.0])
def test_what_is_kept_is_at_temperature_one(temperature: float) -> None:
    logits = random_logits(9, 700)
    drawn = draw_all(
        logits, torch.linspace(0, 0.99, 9), temperature=temperature, top_p=0.9, top_k=12
    )
    logprobs = torch.log_softmax(logits.double(), dim=1)
    wanted = logprobs.topk(12, dim=1)
    assert torch.equal(drawn.top_ids_AK, wanted.indices)
    assert torch.allclose(drawn.top_logprobs_AK.double(), wanted.values, atol=2e-6)
    chosen = logprobs.gather(1, drawn.ids_A[:, None])[:, 0]
    assert torch.allclose(drawn.logprobs_A.double(), chosen, atol=2e-6)


def test_more_may_be_kept_than_there_are_candidates() -> None:
    drawn = draw_all(random_logits(2, 700), 0.5, top_k=300)
    assert drawn.top_ids_AK.shape == (2, 300)
    assert draw_all(random_logits(2, 700), 0.5, top_k=0).top_ids_AK.shape == (2, 0)


def test_rows_with_their_own_settings_do_not_meet_and_logits_are_left_alone() -> None:
    logits = random_logits(4, 700)
    before = logits.clone()
    temperature = torch.tensor([0.0, 1.0, 3.0, 1.0])
    top_p = torch.tensor([1.0, 1.0, 1.0, 0.5], dtype=torch.float64)
    uniform = torch.tensor([0.9, 0.1, 0.97, 0.9], dtype=torch.float64)
    together = draw(logits, temperature_A=temperature, top_p_A=top_p, uniform_A=uniform, top_k=3)
    for row in range(4):
        alone = draw_all(
            logits[row : row + 1],
            uniform[row : row + 1],
            temperature=float(temperature[row]),
            top_p=float(top_p[row]),
            top_k=3,
        )
        assert alone.ids_A == together.ids_A[row]
        assert torch.equal(alone.top_ids_AK[0], together.top_ids_AK[row])
    assert torch.equal(logits, before)


@pytest.mark.parametrize("top_p", [0.4, 0.99, 1.0])
def test_ids_alone_are_those_that_come_with_log_probabilities(top_p: float) -> None:
    logits = random_logits(40, 700, seed=3, scale=1.0)
    uniforms = torch.rand(40, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    temperatures = torch.tensor([0.0, 0.7, 1.0, 2.0]).repeat(10)
    given = {
        "temperature_A": temperatures,
        "top_p_A": torch.full((40,), top_p, dtype=torch.float64),
        "uniform_A": uniforms,
    }
    assert torch.equal(draw_ids(logits, **given), draw(logits, top_k=0, **given).ids_A)


def drawn_by_sorting_all(logits_V: Tensor, top_p: float, uniform: float) -> int:
    scaled_V = logits_V - logits_V.max()
    probs_V = (scaled_V - torch.logsumexp(scaled_V, dim=0)).double().exp()
    order_V = probs_V.sort(descending=True, stable=True).indices
    cumulative_V = probs_V[order_V].cumsum(dim=0)
    mass = float(cumulative_V[-1])
    if top_p < 1.0:
        mass = float(cumulative_V[int(torch.searchsorted(cumulative_V, top_p))])
    place = int(torch.searchsorted(cumulative_V, uniform * mass, right=True))
    return int(order_V[min(place, len(order_V) - 1)])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.2, 1.0, 3.0]),
    st.sampled_from([1e-9, 0.02, 0.5]),
    st.sampled_from([0.5, 0.97, 1.0]),
)
def test_what_is_drawn_beyond_the_candidates_is_what_sorting_all_gives(
    seed: int, scale: float, step: float, top_p: float
) -> None:
    """With many equal logits too: among them the ids decide."""
    logits_V = (random_logits(1, 20_000, seed=seed, scale=scale)[0] / step).round() * step
    uniforms = torch.rand(8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = draw_all(repeated(logits_V, 8), uniforms, top_p=top_p).ids_A.tolist()
    expected = [drawn_by_sorting_all(logits_V, top_p, float(u)) for u in uniforms]
    probs_V = logits_V.softmax(0)
    assert probs_V[found].tolist() == probs_V[expected].tolist()
    least = logits_V.topk(64).values[-1]
    pairs = zip(found, expected, strict=True)
    assert all(one == other for one, other in pairs if logits_V[other] < least)
    if top_p < 1.0:
        law_V = sampling_law(logits_V, temperature=1.0, top_p=top_p)
        sorted_V, order_V = logits_V.sort(descending=True, stable=True)
        mass_V = (sorted_V - torch.logsumexp(logits_V, dim=0)).double().exp().cumsum(dim=0)
        size = int(torch.searchsorted(mass_V, top_p)) + 1
        assert int((law_V > -torch.inf).sum()) == size
        if size > 64:
            assert set(torch.nonzero(law_V > -torch.inf).flatten().tolist()) == set(
                order_V[:size].tolist()
            )
