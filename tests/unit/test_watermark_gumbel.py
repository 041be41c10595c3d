"""Gumbel marks draw as sampling does, and leave the scores that a detector expects."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2, ks_2samp, kstest
from watermark_cases import KEY, Row, key_of, profile_of

from stillhouse.watermark import context_hash, make_mark, score_tokens, token_uniforms
from stillhouse.watermark._gumbel import gumbel_choice, is_second_key
from stillhouse.watermark._hashes import VocabularyHashes

PROBS = np.array([0.45, 0.2, 0.15, 0.1, 0.05, 0.03, 0.015, 0.005])
LOGITS = torch.from_numpy(np.log(PROBS).astype(np.float32))
NUM_KEYS = 4000


def chi_square_p(counts: np.ndarray, probs: np.ndarray) -> float:
    expected = counts.sum() * probs
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), len(probs) - 1))


def plain_choice(logits: np.ndarray, context: int, prf: str = "splitmix64-v1") -> int:
    subkeys = KEY.subkeys("gumbel", prf=prf)  # type: ignore[arg-type]
    contexts = np.array([context], dtype=np.uint64)
    u = token_uniforms(contexts, np.arange(len(logits)), subkeys)
    values = [float(one) - math.log(-math.log(each)) for one, each in zip(logits, u, strict=True)]
    return int(np.argmax(values))


@pytest.mark.parametrize("allowed", [range(8), (1, 3, 4)])
def test_over_keys_tokens_are_drawn_from_the_law_itself(allowed: range | tuple[int, ...]) -> None:
    logits = torch.full((8,), -torch.inf)
    logits[list(allowed)] = LOGITS[list(allowed)]
    counts = np.zeros(8)
    for number in range(NUM_KEYS):
        hashes = VocabularyHashes(key_of(number).subkeys("gumbel"))
        counts[gumbel_choice(logits.numpy(), hashes, context_hash([4, 5, 6, 7]))] += 1
    rest = [token_id for token_id in range(8) if token_id not in allowed]
    assert counts[rest].sum() == 0
    probs = PROBS[list(allowed)] / PROBS[list(allowed)].sum()
    assert chi_square_p(counts[list(allowed)], probs) > 1e-3


@pytest.mark.parametrize("scheme", ["gumbel", "dual_gumbel"])
def test_over_contexts_and_seeds_tokens_are_drawn_from_the_law_itself(scheme: str) -> None:
    parameters = {"alpha": 0.5} if scheme == "dual_gumbel" else {}
    mark = make_mark(profile_of(scheme, parameters=parameters), KEY)
    counts = np.zeros(8)
    for number in range(NUM_KEYS):
        given = mark(Row(seed=number), [number, 1, 2, 3], LOGITS)
        assert isinstance(given, int)
        counts[given] += 1
    assert chi_square_p(counts, PROBS) > 1e-3


def test_pairs_of_tokens_in_a_row_are_independent_over_keys() -> None:
    """A scheme can be right at each token and wrong for two of them together."""
    counts = np.zeros((3, 3))
    logits = LOGITS[:3]
    probs = PROBS[:3] / PROBS[:3].sum()
    for number in range(NUM_KEYS):
        hashes = VocabularyHashes(key_of(number).subkeys("gumbel"))
        first = gumbel_choice(logits.numpy(), hashes, context_hash([4, 5]))
        second = gumbel_choice(logits.numpy(), hashes, context_hash([5, first]))
        counts[first, second] += 1
    assert chi_square_p(counts.ravel(), np.outer(probs, probs).ravel()) > 1e-3


@settings(max_examples=150, deadline=None)
@given(
    arrays(np.float32, st.integers(2, 300), elements=st.floats(-120, 120, width=32)),
    st.integers(0, 2**64 - 1),
    st.floats(0, 1),
)
def test_what_is_not_computed_could_not_have_won(
    logits: np.ndarray, context: int, share_cut: float
) -> None:
    cut = np.random.default_rng(1).random(len(logits)) < share_cut
    cut[int(logits.argmax())] = False
    logits = np.where(cut, np.float32(-np.inf), logits)
    hashes = VocabularyHashes(KEY.subkeys("gumbel"))
    assert gumbel_choice(logits, hashes, context) == plain_choice(logits, context)


def test_a_flat_vocabulary_of_real_size_gives_what_the_plain_rule_gives() -> None:
    rng = np.random.default_rng(5)
    hashes = VocabularyHashes(KEY.subkeys("gumbel"))
    for scale in (0.0, 0.3, 3.0, 12.0):
        logits = (scale * rng.standard_normal(49_152)).astype(np.float32)
        for context in range(5):
            assert gumbel_choice(logits, hashes, context) == plain_choice(logits, context)


def test_the_version_for_evidence_marks_too() -> None:
    mark = make_mark(profile_of(prf="hmac-sha256-v1"), KEY)
    given = mark(Row(), [5, 6, 7, 8], LOGITS)
    assert given == plain_choice(LOGITS.numpy(), context_hash([5, 6, 7, 8]), "hmac-sha256-v1")


def test_a_chosen_token_scores_by_the_number_that_chose_it() -> None:
    profile = profile_of(context_width=2)
    mark = make_mark(profile, KEY)
    ids = [3, 1]
    for _ in range(300):
        given = mark(Row(), ids, torch.zeros(50))
        ids.append(given if isinstance(given, int) else len(ids) % 50)
    scores = score_tokens(profile, KEY, ids)
    assert scores.positions_N.tolist() == list(range(2, 302))
    assert scores.scores_N.mean() > 3.5  # of 50 exponentials the largest has mean 4.5
    other = score_tokens(profile_of(context_width=2, key_id=key_of(1).key_id), key_of(1), ids)
    assert abs(other.scores_N.mean() - 1.0) < 0.25


def test_scores_of_unmarked_ids_have_their_law() -> None:
    ids = np.random.default_rng(2).integers(0, 49_152, 20_000)
    single = score_tokens(profile_of(), KEY, ids)
    assert kstest(single.scores_N, "expon").pvalue > 1e-3
    dual = score_tokens(profile_of("dual_gumbel", parameters={"alpha": 0.1}), KEY, ids)
    assert dual.null.parameters == (0.9, 0.1)
    law = np.random.default_rng(3).exponential([0.9, 0.1], (200_000, 2)).sum(axis=1)
    assert kstest(dual.scores_N, law).pvalue > 1e-3
    for found in (single, dual):
        assert abs(found.scores_N.mean() - found.null.mean) < 0.03
        assert abs(found.scores_N.var() - found.null.variance) < 0.08


def test_the_second_key_has_its_share_and_both_are_found() -> None:
    alpha = 0.3
    chosen = [is_second_key(seed, place, alpha) for seed in range(200) for place in range(50)]
    assert abs(np.mean(chosen) - alpha) < 0.02
    profile = profile_of("dual_gumbel", parameters={"alpha": alpha})
    mark = make_mark(profile, KEY)
    ids, second = [1, 2, 3, 4], []
    for _ in range(200):
        given = mark(Row(seed=9), ids, torch.zeros(40))
        second.append(is_second_key(9, len(ids), alpha))
        ids.append(given if isinstance(given, int) else 0)
    scores = score_tokens(profile, KEY, ids).scores_N
    marked_by_second = np.array(second)
    # The largest of 40 exponentials has mean 4.28; the other key's score stays 1.
    assert abs(scores[~marked_by_second].mean() - (0.7 * 4.28 + 0.3)) < 0.4
    assert abs(scores[marked_by_second].mean() - (0.3 * 4.28 + 0.7)) < 0.5


def test_greedy_tokens_are_left_alone() -> None:
    mark = make_mark(profile_of(), KEY)
    assert mark(Row(temperature=0.0), [1, 2, 3, 4, 5], LOGITS) is LOGITS


def test_a_token_that_is_certain_stays_what_it_is() -> None:
    mark = make_mark(profile_of(), KEY)
    certain = torch.full((100,), -torch.inf)
    certain[42] = 3.0
    assert mark(Row(), [1, 2, 3, 4, 5], certain) == 42


def test_whole_texts_have_the_lengths_and_likelihoods_that_they_have_without_a_mark() -> None:
    """Contexts that come again, unmarked beginnings and an end that is drawn, all together."""
    rng = np.random.default_rng(11)
    table = torch.from_numpy(rng.normal(0, 1.5, (12, 12)).astype(np.float32))
    table[:, 0] = -0.5  # the end of a text
    logprobs = torch.log_softmax(table, dim=1).double().numpy()
    cumulative = np.exp(logprobs).cumsum(axis=1)
    found: dict[bool, list[tuple[int, float]]] = {True: [], False: []}
    for is_marked in (True, False):
        for number in range(1200):
            key = key_of(number)
            profile = profile_of(context_width=1, key_id=key.key_id)
            mark = make_mark(profile, key) if is_marked else None
            row, ids, nll = Row(seed=number), [1], 0.0
            while ids[-1] != 0 and len(ids) < 60:
                law = table[ids[-1]]
                given = mark(row, ids, law) if mark else law
                if not isinstance(given, int):
                    given = min(int((cumulative[ids[-1]] < rng.random()).sum()), 11)
                nll -= float(logprobs[ids[-1], given])
                ids.append(given)
            found[is_marked].append((len(ids), nll))
    marked, plain = (np.array(found[one]) for one in (True, False))
    for column in (0, 1):
        error = math.sqrt((marked[:, column].var() + plain[:, column].var()) / 1200)
        assert abs(marked[:, column].mean() - plain[:, column].mean()) < 3.3 * error
    assert ks_2samp(marked[:, 0], plain[:, 0]).pvalue > 1e-3
