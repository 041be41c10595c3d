"""Every codec: what goes in comes out, to the precision that it promises."""

from typing import Any

import numpy as np
import pytest

from stillhouse.errors import ConfigError, IntegrityError, ShapeError
from stillhouse.signal import (
    CODECS,
    AdaptiveCodec,
    Codec,
    HeadCacheCodec,
    HeadCacheSignal,
    HiddenCodec,
    HiddenSignal,
    RelativeCodec,
    SampledCodec,
    SampledSignal,
    Signal,
    TokenCodec,
    TokenSignal,
    TopKCodec,
    TopKSignal,
    codec_of,
    describe,
)
from stillhouse.signal._grid import decode_probs, decode_tails, encode_probs, encode_tails
from stillhouse.signal._id_order import IdOrder

VOCABULARY = 3_000
HEAD = {"head_shape": (VOCABULARY, 6), "head_sha256": "a" * 64}


def round_trip(codec: Codec[Any], *signals: Signal) -> Any:
    order = IdOrder.of(codec.stored_ids(signals))
    return codec.decode(codec.encode(signals, order), IdOrder(order.classes))


def distributions(num_tokens: int, *, seed: int) -> np.ndarray:
    """(n, V) probabilities from almost certain to almost flat."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((num_tokens, VOCABULARY)) * rng.uniform(0.5, 9, (num_tokens, 1))
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    return probs / probs.sum(axis=1, keepdims=True)


def top(probs: np.ndarray, k: int) -> TopKSignal:
    ids = np.argsort(-probs, axis=1)[:, :k]
    return TopKSignal.of(ids, np.log(np.take_along_axis(probs, ids, axis=1)))


def mass(signal: TopKSignal) -> np.ndarray:
    kept = np.exp(signal.logprobs.astype(np.float64)).sum(axis=1)
    return kept + np.exp(signal.tail_logprob.astype(np.float64))


@pytest.mark.parametrize("k", [1, 2, 32, 300])
def test_topk_keeps_ids_and_order_and_moves_probabilities_by_half_a_step(k: int) -> None:
    one, other = top(distributions(50, seed=1), k), top(distributions(7, seed=2), k)
    found = round_trip(TopKCodec(k), one, other)
    wanted = TopKSignal.joined([one, other])
    assert np.array_equal(found.ids, wanted.ids)
    before, after = np.exp(wanted.logprobs), np.exp(found.logprobs)
    assert np.abs(after - before).max() < 4e-3
    large = before > 0.01
    assert np.abs(found.logprobs[large] - wanted.logprobs[large]).max() < 0.04
    assert (np.diff(after, axis=1) <= 1e-6).all()
    np.testing.assert_allclose(found.tail_logprob, wanted.tail_logprob, atol=1e-3)
    np.testing.assert_allclose(mass(found), 1.0, atol=1e-6)


def test_a_probability_close_to_one_keeps_its_distance_from_one() -> None:
    rest = np.array([3e-5, 1e-5, 2e-6])
    signal = TopKSignal.of([[7, 1, 2, 3]], np.log([[1 - rest.sum() - 1e-5, *rest]]))
    found = round_trip(TopKCodec(4), signal)
    assert -np.expm1(found.logprobs[0, 0]) == pytest.approx(rest.sum() + 1e-5, rel=0.05)


def test_a_whole_vocabulary_without_a_tail_stays_without() -> None:
    signal = TopKSignal.of([[0, 1, 2]], np.log([[0.5, 0.25, 0.25]]))
    found = round_trip(TopKCodec(3), signal)
    assert found.tail_logprob.tolist() == [-np.inf]
    np.testing.assert_allclose(np.exp(found.logprobs), [[0.5, 0.25, 0.25]], atol=2e-3)


def test_a_token_that_is_ruled_out_stays_ruled_out() -> None:
    with np.errstate(divide="ignore"):
        signal = TopKSignal.of([[4, 9]], np.log([[0.75, 0.0]]))
    found = round_trip(TopKCodec(2), signal)
    assert found.ids.tolist() == [[4, 9]]
    assert found.logprobs[0, 1] == -np.inf


def test_a_token_without_any_probability_is_refused() -> None:
    with np.errstate(divide="ignore"):
        signal = TopKSignal.of([[4, 9], [1, 2]], np.log([[0.75, 0.1], [0.0, 0.0]]))
    for codec in (TopKCodec(2), AdaptiveCodec(2, 0.01), RelativeCodec(2, 0.01)):
        with pytest.raises(ShapeError, match="no probability at all"):
            round_trip(codec, signal)


def test_ids_in_any_order_come_back_most_likely_first() -> None:
    signal = TopKSignal.of([[5, 6, 7]], np.log([[0.1, 0.6, 0.2]]))
    assert round_trip(TopKCodec(3), signal).ids.tolist() == [[6, 7, 5]]


def test_ids_of_a_large_vocabulary_survive() -> None:
    ids = np.random.default_rng(0).permutation(260_000).reshape(-1, 2).astype(np.int32)
    logprobs = np.log(np.full(ids.shape, 0.25))
    assert np.array_equal(round_trip(TopKCodec(2), TopKSignal.of(ids, logprobs)).ids, ids)


@pytest.mark.parametrize("bad", [-1, 1 << 24])
def test_ids_that_no_table_holds_are_refused(bad: int) -> None:
    with pytest.raises(ShapeError, match="are allowed"):
        round_trip(TopKCodec(1), TopKSignal.of([[bad]], np.log([[0.5]])))


def test_another_k_than_the_codecs_is_refused() -> None:
    with pytest.raises(ShapeError, match="3 ids per token for a store of 2"):
        round_trip(TopKCodec(2), top(distributions(4, seed=0), 3))


def test_adaptive_keeps_the_fewest_ids_that_leave_so_little() -> None:
    probs = distributions(80, seed=3)
    found = round_trip(AdaptiveCodec(40, 0.01), top(probs, 40))
    falling = -np.sort(-probs, axis=1)
    for token in range(80):
        real = np.isfinite(found.logprobs[token])
        fewest = int(np.argmax(1 - np.cumsum(falling[token]) <= 0.01)) + 1
        assert real.sum() == min(fewest, 40)
        assert real[: real.sum()].all()
        assert (found.ids[token][~real] == found.ids[token][0]).all()  # fillers
        assert len(set(found.ids[token][real])) == real.sum()
        outside = 1 - falling[token][: real.sum()].sum()
        assert np.exp(found.tail_logprob[token]) == pytest.approx(outside, rel=2e-3, abs=1e-6)
    np.testing.assert_allclose(mass(found), 1.0, atol=1e-6)


def test_what_was_adaptive_can_be_stored_again() -> None:
    codec = AdaptiveCodec(40, 0.01)
    once = round_trip(codec, top(distributions(30, seed=4), 40))
    again = round_trip(codec, once)
    real = np.isfinite(once.logprobs)
    assert np.array_equal(np.isfinite(again.logprobs), real)
    assert np.array_equal(again.ids, once.ids)


def spreads(probs: np.ndarray) -> np.ndarray:
    """Length of the gradient q - p for a nat of noise in each logit, to first order, per token."""
    jacobians = np.eye(probs.shape[1]) * probs[:, None] - probs[:, None] * probs[:, :, None]
    return np.sqrt((jacobians**2).sum(axis=(1, 2)))


def sharp_to_flat(num_tokens: int, *, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).standard_normal((num_tokens, 200))
    probs = np.exp(logits * np.linspace(0.5, 12, num_tokens)[:, None])
    return probs / probs.sum(axis=1, keepdims=True)


def test_relative_keeps_what_is_not_small_beside_the_spread() -> None:
    probs = sharp_to_flat(60, seed=7)
    found = round_trip(RelativeCodec(200, 0.02), top(probs, 200))
    smallest = 0.02 * np.maximum(spreads(probs), 1e-4)
    numbers = np.isfinite(found.logprobs).sum(axis=1)
    # The spread is kept to a thirty-second.
    assert (numbers <= (probs >= smallest[:, None] / 1.04).sum(axis=1)).all()
    assert (numbers >= (probs >= smallest[:, None] * 1.04).sum(axis=1)).all()
    assert numbers[0] > 100 > 10 > numbers[-1]
    for token, number in enumerate(numbers):
        best = np.argsort(-probs[token])[:number]
        assert found.ids[token, :number].tolist() == best.tolist()
        assert (found.ids[token, number:] == best[0]).all()  # fillers


def test_relative_values_are_as_fine_as_the_spread_asks_for() -> None:
    probs = sharp_to_flat(60, seed=8)
    found = round_trip(RelativeCodec(200, 0.02), top(probs, 200))
    real = np.isfinite(found.logprobs)
    errors = np.exp(found.logprobs) - np.take_along_axis(probs, found.ids, axis=1)
    lengths = np.sqrt((np.where(real, errors, 0.0) ** 2).sum(axis=1))
    spread = np.maximum(spreads(probs), 1e-4)
    assert (lengths / spread).max() < 0.03
    np.testing.assert_allclose(mass(found), 1.0, atol=1e-6)


def test_relative_keeps_one_id_where_all_are_below_the_threshold_and_never_over_top_k() -> None:
    flat = top(np.full((1, VOCABULARY), 1 / VOCABULARY), VOCABULARY)
    assert round_trip(RelativeCodec(4_000, 0.9), flat).ids.shape == (1, 1)
    assert round_trip(RelativeCodec(7, 0.001), flat).ids.shape == (1, 7)


def test_relative_encodes_a_row_alike_beside_wider_ones() -> None:
    codec = RelativeCodec(300, 0.01)
    narrow, wide = top(distributions(40, seed=9), 25), top(distributions(40, seed=10), 300)
    alone, beside = round_trip(codec, narrow), round_trip(codec, narrow, wide)
    width = alone.ids.shape[1]
    assert np.array_equal(beside.ids[:40, :width], alone.ids)
    assert np.array_equal(beside.logprobs[:40, :width], alone.logprobs)


def drawn(num_draws: int, *, seed: int) -> SampledSignal:
    """Draws of 30 tokens, a repeated one counted."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((30, num_draws), dtype=np.int32)
    weights = np.zeros((30, num_draws), dtype=np.float32)
    for token in range(30):
        found, counts = np.unique(rng.zipf(1.5, num_draws) % VOCABULARY, return_counts=True)
        ids[token, : len(found)], weights[token, : len(found)] = found, counts / num_draws
    return SampledSignal(ids, weights)


def dense(signal: SampledSignal) -> np.ndarray:
    target = np.zeros((len(signal), VOCABULARY))
    np.add.at(target, (np.arange(len(signal))[:, None], signal.ids), signal.weights)
    return target


def test_draws_come_back_exactly() -> None:
    one, other = drawn(12, seed=0), drawn(12, seed=1)
    found = round_trip(SampledCodec(12), one, other)
    np.testing.assert_allclose(dense(found), np.concatenate([dense(one), dense(other)]), atol=1e-7)


def test_weights_of_a_flatter_proposal_come_back_to_a_half_float() -> None:
    signal = drawn(12, seed=2)
    signal = SampledSignal(signal.ids, signal.weights * np.float32(0.7312))
    found = round_trip(SampledCodec(12, flatten=0.5), signal)
    np.testing.assert_allclose(dense(found), dense(signal), rtol=5e-4)


def test_a_weight_that_is_no_count_is_refused() -> None:
    with pytest.raises(ShapeError, match="no multiple of 1 / 12"):
        round_trip(SampledCodec(12), SampledSignal(np.array([[1]]), np.array([[0.4]])))


def test_the_actual_tokens_logprob_is_kept_to_a_quarter_of_a_thousandth() -> None:
    logprobs = np.array([0.0, -1e-3, -0.5, -13.37, -31.9], dtype=np.float32)
    found = round_trip(TokenCodec(), TokenSignal(logprobs))
    np.testing.assert_allclose(found.logprobs, logprobs, atol=2.5e-4)
    assert round_trip(TokenCodec(), TokenSignal(np.array([-99.0]))).logprobs[0] < -31.9


@pytest.mark.parametrize(("dtype", "step"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_vectors_are_rounded_to_the_nearest_half(dtype: Any, step: float) -> None:
    values = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    found = round_trip(HiddenCodec(**HEAD, dtype=dtype), HiddenSignal(values))
    np.testing.assert_allclose(found.hidden, values, rtol=step, atol=1e-7)
    cache = HeadCacheSignal(values, values[:, 0])
    found = round_trip(HeadCacheCodec(**HEAD, dtype=dtype), cache)
    np.testing.assert_allclose(found.vectors, values, rtol=step, atol=1e-7)
    assert np.array_equal(found.negative_entropy, values[:, 0])


def test_what_float16_cannot_hold_is_refused_and_bfloat16_holds_it() -> None:
    values = np.full((1, 6), 7e4, dtype=np.float32)
    with pytest.raises(ShapeError, match=r"7e\+04 do not fit float16. Set dtype bfloat16"):
        round_trip(HiddenCodec(**HEAD), HiddenSignal(values))
    found = round_trip(HiddenCodec(**HEAD, dtype="bfloat16"), HiddenSignal(values))
    np.testing.assert_allclose(found.hidden, values, rtol=2**-8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(value: float, dtype: Any) -> None:
    with pytest.raises(ShapeError, match="infinite or NaN"):
        round_trip(HiddenCodec(**HEAD, dtype=dtype), HiddenSignal(np.full((1, 6), value)))


def test_vectors_of_another_width_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"the head takes \(n, 6\)"):
        round_trip(HiddenCodec(**HEAD), HiddenSignal(np.zeros((2, 5), dtype=np.float32)))


def test_a_head_cache_gives_the_forward_kl_and_its_gradient() -> None:
    rng = np.random.default_rng(5)
    head, hidden = rng.standard_normal((VOCABULARY, 6)), rng.standard_normal((20, 6))
    probs = distributions(20, seed=6)
    entropy = (probs * np.log(probs)).sum(axis=1)
    signal = HeadCacheSignal((probs @ head).astype(np.float32), entropy.astype(np.float32))
    found = round_trip(HeadCacheCodec(**HEAD), signal)
    logits = hidden @ head.T
    normaliser = np.log(np.exp(logits).sum(axis=1))
    kl = found.negative_entropy - (found.vectors * hidden).sum(axis=1) + normaliser
    student = np.exp(logits - normaliser[:, None])
    np.testing.assert_allclose(
        kl, (probs * (np.log(probs) - np.log(student))).sum(axis=1), atol=5e-3
    )
    np.testing.assert_allclose(student @ head - found.vectors, (student - probs) @ head, atol=2e-3)


EACH_CODEC: list[Codec[Any]] = [
    TopKCodec(8),
    AdaptiveCodec(8, 0.01),
    RelativeCodec(8, 0.01),
    SampledCodec(5, 0.7),
    TokenCodec(),
    HiddenCodec(**HEAD),
    HeadCacheCodec(**HEAD, dtype="bfloat16"),
]


def test_no_codec_is_left_out_of_these_tests() -> None:
    assert {codec.name for codec in EACH_CODEC} == set(CODECS)


@pytest.mark.parametrize("codec", EACH_CODEC)
def test_a_description_is_enough_to_make_the_codec_again(codec: Codec[Any]) -> None:
    assert codec_of(describe(codec)) == codec


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"name": "topk", "version": 2, "parameters": {"top_k": 4}}, "version 2 of codec topk"),
        ({"name": "zip", "version": 1, "parameters": {}}, "this version reads topk, adaptive"),
        ({"name": "topk", "version": 1, "parameters": {"k": 4}}, "parameters of codec topk"),
        ({"name": "topk", "version": 1, "parameters": {"top_k": 0}}, "top_k=0"),
        ({"name": "hidden", "version": 1, "parameters": {**HEAD, "dtype": "int8"}}, "dtype='int8'"),
        (None, "its codec is None"),
    ],
)
def test_a_description_of_no_known_codec_is_refused(description: Any, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        codec_of(description)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TopKCodec(0),
        lambda: AdaptiveCodec(5_000, 0.1),
        lambda: AdaptiveCodec(8, 1.0),
        lambda: RelativeCodec(0, 0.1),
        lambda: RelativeCodec(8, 0.0),
        lambda: SampledCodec(0),
        lambda: SampledCodec(12, 0.0),
    ],
)
def test_parameters_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"lies between|at most 1"):
        make()


def test_the_grid_is_within_three_thousandths_everywhere() -> None:
    probs = np.concatenate([np.linspace(0, 0.4999, 5_001), np.logspace(-8.5, -3, 500)])
    found = decode_probs(encode_probs(probs))
    assert np.abs(found - probs).max() < 2.6e-3
    assert (np.abs(found - probs)[probs > 3e-9] / probs[probs > 3e-9]).max() < 0.12
    assert (np.diff(decode_probs(np.arange(1, 300))) <= 0).all()


def test_tails_keep_half_a_thousandth_and_none_stays_none() -> None:
    tails = np.array([0.0, -1e-4, -3.3, -15.9, -np.inf], dtype=np.float32)
    found = decode_tails(encode_tails(tails))
    np.testing.assert_allclose(found, tails, atol=5e-4)


@pytest.mark.parametrize("width", [1, 3])
def test_joined_signals_fill_narrow_rows_with_their_first_id(width: int) -> None:
    wide = TopKSignal.of([[1, 2, 3]], np.log([[0.5, 0.2, 0.1]]))
    narrow = wide.truncated(width)
    joined = TopKSignal.joined([wide, narrow])
    assert joined.ids[1].tolist() == [1, 2, 3][:width] + [1] * (3 - width)
    assert np.isinf(joined.logprobs[1]).sum() == 3 - width
    assert joined.tail_logprob[1] == narrow.tail_logprob[0]
