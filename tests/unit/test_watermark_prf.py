"""The keyed numbers: published vectors, an independent reading of them, and statistical tests."""

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from watermark_cases import KEY

from stillhouse.errors import DataError, ShapeError
from stillhouse.watermark import (
    Subkeys,
    context_hash,
    context_hashes,
    token_hashes,
    token_uniforms,
)
from stillhouse.watermark._hashes import VocabularyHashes, may_come
from stillhouse.watermark._prf import PrfName, uniforms

PAGE = Path(__file__).resolve().parents[2] / "docs" / "watermark.md"
MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
SUBKEYS = KEY.subkeys("gumbel")
# Of the key with the bytes 0 to 31, the purpose "gumbel" and the context 5, 6, 7, 8.
VECTORS = {0: 0x7C9DE3641DD32EFD, 1: 0x33B556E7B35FE2CA, 49151: 0x2518C5F683F91DA9}
HMAC_VECTORS = {0: 0xD60327772AFEE922, 1: 0xDD7ACA35BB84DCD2, 49151: 0x28E8275214CAF615}
CONTEXT = 0xF9D759F52CA5E109


def plain_mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def plain_hash(context: Sequence[int], token_id: int, keys: Subkeys) -> int:
    c = len(context)
    for one in context:
        c = plain_mix(c ^ ((one + 1) * GOLDEN & MASK))
    return plain_mix(plain_mix(c ^ keys.k0) ^ plain_mix(keys.k1 ^ ((token_id + 1) * GOLDEN & MASK)))


def test_the_published_vectors_hold() -> None:
    assert context_hash([5, 6, 7, 8]) == CONTEXT
    contexts = np.array([CONTEXT], dtype=np.uint64)
    page = PAGE.read_text(encoding="utf-8")
    for subkeys, vectors in (
        (SUBKEYS, VECTORS),
        (KEY.subkeys("gumbel", prf="hmac-sha256-v1"), HMAC_VECTORS),
    ):
        for token_id, expected in vectors.items():
            assert int(token_hashes(contexts, [token_id], subkeys)[0]) == expected
            assert f"`{expected:016x}`" in page
    assert f"`{CONTEXT:016x}`" in page
    assert f"`{SUBKEYS.k0:016x}`" in page
    assert f"`{SUBKEYS.k1:016x}`" in page
    assert KEY.key_id in page


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=70),
    st.integers(1, 8),
    st.binary(min_size=16, max_size=16),
)
def test_arrays_and_plain_integers_agree(ids: list[int], width: int, raw: bytes) -> None:
    keys = Subkeys(int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little"))
    contexts = context_hashes(ids, width)
    assert len(contexts) == max(0, len(ids) - width)
    hashes = token_hashes(contexts, ids[width:] if len(contexts) else [], keys)
    for place, value in enumerate(hashes.tolist()):
        context = ids[place : place + width]
        assert int(contexts[place]) == context_hash(context)
        assert value == plain_hash(context, ids[place + width], keys)


def test_the_version_for_evidence_is_hmac() -> None:
    keys = KEY.subkeys("gumbel", prf="hmac-sha256-v1")
    raw = hmac.digest(KEY.secret, b"stillhouse/watermark/1\0gumbel\0", "sha256")[:16]
    message = b"stillhouse/watermark/1\0context\0" + CONTEXT.to_bytes(8, "little")
    message += (49151).to_bytes(8, "little")
    expected = int.from_bytes(hmac.digest(raw, message, hashlib.sha256)[:8], "little")
    assert int(token_hashes(np.array([CONTEXT], dtype=np.uint64), [49151], keys)[0]) == expected


def test_uniforms_are_never_0_or_1() -> None:
    ends = uniforms(np.array([0, MASK], dtype=np.uint64))
    assert ends.tolist() == [2.0**-53, 1.0 - 2.0**-53]
    assert np.isfinite(-np.log1p(-ends)).all()
    drawn = token_uniforms(np.zeros(1000, dtype=np.uint64), np.arange(1000), SUBKEYS)
    assert ((drawn > 0) & (drawn < 1)).all()


def test_order_in_a_context_counts_and_no_id_vanishes() -> None:
    assert context_hash([1, 2]) != context_hash([2, 1])
    assert context_hash([0]) != context_hash([0, 0])
    products = {context_hash([a, b]) for a in range(40) for b in range(40)}
    assert len(products) == 1600  # a * b = c * d must not collide


def test_one_changed_bit_changes_half_of_the_bits() -> None:
    rng = np.random.default_rng(3)
    contexts = rng.integers(0, 1 << 63, 2000, dtype=np.uint64)
    ids = rng.integers(0, 1 << 17, 2000)
    before = token_hashes(contexts, ids, SUBKEYS)

    def flipped(after: np.ndarray) -> np.ndarray:
        return np.unpackbits((before ^ after).view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)

    for bit in range(17):
        shares = flipped(token_hashes(contexts, ids ^ (1 << bit), SUBKEYS))
        assert abs(shares.mean() - 0.5) < 0.008
        assert np.abs(shares - 0.5).max() < 0.06  # 5.3 standard deviations of one bit
    for bit in range(64):
        moved = token_hashes(contexts ^ np.uint64(1 << bit), ids, SUBKEYS)
        assert np.abs(flipped(moved) - 0.5).max() < 0.06
        for other in (
            Subkeys(SUBKEYS.k0 ^ (1 << bit), SUBKEYS.k1),
            Subkeys(SUBKEYS.k0, SUBKEYS.k1 ^ (1 << bit)),
        ):
            assert np.abs(flipped(token_hashes(contexts, ids, other)) - 0.5).max() < 0.06


def chi_square_p(cells: np.ndarray, num_cells: int) -> float:
    counts = np.bincount(cells, minlength=num_cells)
    expected = len(cells) / num_cells
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), num_cells - 1))


@pytest.mark.parametrize("stride", [1, 2, 64, 4096])
def test_neighbours_pass_uniformity_serial_and_permutation_tests(stride: int) -> None:
    """Ids, contexts and keys that lie side by side: what a weak function would show in."""
    count = 1 << 16
    grid = np.arange(count, dtype=np.int64) * stride
    small = np.array([context_hash([0, 0, 0, 0])], dtype=np.uint64)
    by_id = token_uniforms(small, grid, SUBKEYS)
    by_context = token_uniforms(context_hashes(np.append(grid, 0), 1), [17] * count, SUBKEYS)
    by_raw = token_uniforms(grid.astype(np.uint64), [17] * count, SUBKEYS)
    p_values = []
    for u in (by_id, by_context, by_raw):
        cells = (u * 64).astype(np.int64)
        p_values.append(chi_square_p(cells, 64))
        for lag in (1, 2, 3):
            p_values.append(chi_square_p(cells[:-lag:2] * 64 + cells[lag::2], 4096))
        ranks = np.argsort(u[: count // 3 * 3].reshape(-1, 3), axis=1)
        p_values.append(chi_square_p(permutation(ranks), 6))
        p_values.append(chi_square_p(low_bits(u), 16))
    assert min(p_values) > 1e-4  # 18 tests in each of 4 strides
    assert max(p_values) < 1 - 1e-4


def permutation(ranks: np.ndarray) -> np.ndarray:
    code: np.ndarray = ranks[:, 0] * 2 + (ranks[:, 1] > ranks[:, 2])
    return code


def low_bits(u: np.ndarray) -> np.ndarray:
    """The four lowest of the 52 bits."""
    low: np.ndarray = (u * 2.0**52).astype(np.int64) & 15
    return low


@pytest.mark.parametrize("ids", [[-1, 2, 3], [0.5, 1.0], ["a"], [None]])
def test_what_is_no_id_is_refused(ids: list[object]) -> None:
    with pytest.raises(DataError, match=r"whole numbers|ids"):
        context_hashes(np.array(ids), 1)


def test_texts_of_0_and_1_tokens_have_no_context() -> None:
    assert context_hashes([], 4).shape == (0,)
    assert context_hashes([3], 4).shape == (0,)
    assert context_hashes([3, 4, 5, 6, 7], 4).shape == (1,)


def test_several_texts_at_once_and_impossible_widths_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"shape \(2, 5\)"):
        context_hashes(np.zeros((2, 5), dtype=np.int64), 2)
    for width in (0, -1, 65):
        with pytest.raises(DataError, match=f"context_width={width}"):
            context_hashes([1, 2, 3], width)


@pytest.mark.parametrize("prf", ["splitmix64-v1", "hmac-sha256-v1"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_tokens_that_may_come_have_the_hashes_of_the_whole_vocabulary(
    prf: PrfName, share: float
) -> None:
    subkeys = KEY.subkeys("gumbel", prf=prf)
    logits = np.random.default_rng(3).standard_normal(500).astype(np.float32)
    logits[np.random.default_rng(4).random(500) > share] = -np.inf
    logits[7] = np.nan  # not to be hidden
    ids = may_come(logits)
    hashes = VocabularyHashes(subkeys)
    whole = token_hashes(np.array([99], dtype=np.uint64), np.arange(500), subkeys)
    if share == 1.0:
        assert ids is None
        assert np.array_equal(hashes.of(99, 500, None), whole)
    else:
        assert ids is not None
        assert ids.tolist() == [n for n in range(500) if logits[n] != -np.inf]
        assert np.array_equal(hashes.of(99, 500, ids), whole[ids])
