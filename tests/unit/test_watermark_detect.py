import numpy as np
import pytest
from detection_cases import (
    KEY,
    SCHEMES,
    TOKENIZER,
    marked_text,
    profile_of,
    text_with_high_scores,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.watermark import (
    NgramFilter,
    WatermarkKey,
    critical_sums,
    detect,
    detect_many,
    locate_marks,
    log10_tail,
    ngram_hashes,
    null_law,
    score_tokens,
    window_scores,
    windows,
    zipf_law,
)
from stillhouse.watermark._windows import _first_places

LAW = zipf_law(4.0, 4000)
texts_of_few_tokens = st.lists(st.lists(st.integers(0, 5), max_size=40), min_size=1, max_size=6)


@pytest.mark.parametrize(("scheme", "prf"), SCHEMES)
def test_windows_have_the_scores_of_their_tokens(scheme: str, prf: str) -> None:
    rng = np.random.default_rng(0)
    profile = profile_of(scheme, prf)
    texts = [rng.integers(0, 9, size=60), rng.integers(0, 9, size=3), rng.integers(0, 900, size=50)]
    found = windows(texts, width=4)
    scores = window_scores(profile, KEY, found)
    for place, text in enumerate(texts):
        whole = score_tokens(profile, KEY, text)
        assert null_law(profile) == whole.null
        of_text = found.texts_N == place
        np.testing.assert_allclose(
            scores[of_text], whole.scores_N[found.positions_N[of_text] - 4], rtol=1e-12
        )


@given(texts_of_few_tokens, st.integers(1, 3), st.sampled_from(["context", "pair"]))
@settings(deadline=None)
def test_windows_are_those_of_a_plain_loop(texts: list[list[int]], width: int, once: str) -> None:
    found = windows(texts, width=width, once=once)  # type: ignore[arg-type]
    expected = []
    for place, text in enumerate(texts):
        seen = set()
        for at in range(width, len(text)):
            context = tuple(text[at - width : at])
            what = context if once == "context" else (*context, text[at])
            if what not in seen:
                expected.append((place, at, text[at]))
            seen.add(what)
    shown = zip(found.texts_N, found.positions_N, found.ids_N, strict=True)
    assert [tuple(map(int, one)) for one in shown] == expected
    lengths = np.array([len(text) for text in texts])
    lacking = np.minimum(lengths, width)
    assert (found.num_scored_D + found.num_repeated_D + lacking == lengths).all()


@given(texts_of_few_tokens, st.lists(st.integers(0, 5), max_size=30))
@settings(deadline=None)
def test_no_context_of_the_prompt_is_scored(texts: list[list[int]], prompt: list[int]) -> None:
    found = windows(texts, width=2, prompts=[prompt] * len(texts))
    in_prompt = {tuple(prompt[at - 2 : at]) for at in range(2, len(prompt))}
    plain = windows(texts, width=2)
    for place, at in zip(plain.texts_N, plain.positions_N, strict=True):
        is_scored = ((found.texts_N == place) & (found.positions_N == at)).any()
        assert is_scored == (tuple(texts[place][at - 2 : at]) not in in_prompt)
    lacking = np.minimum([len(text) for text in texts], 2)
    parts = found.num_scored_D + found.num_repeated_D + found.num_in_prompt_D + lacking
    assert (parts == found.num_tokens_D).all()


@pytest.mark.parametrize(("scheme", "prf"), SCHEMES)
def test_p_values_of_unmarked_texts_are_what_they_say(scheme: str, prf: str) -> None:
    rng = np.random.default_rng(3)
    num_texts = 400 if prf == "hmac-sha256-v1" else 4000
    texts = list(rng.integers(0, 40_000, size=(num_texts, 40)))
    found = detect_many(texts, profile_of(scheme, prf), KEY)
    p_values = np.array([one.p_value for one in found])
    for level in (0.5, 0.1, 0.01):
        # A coarse law keeps below its level; no law goes above it but by chance (4.5 sd).
        chance = 4.5 * (level * (1 - level) / num_texts) ** 0.5
        assert (p_values <= level).mean() <= level + chance, level
        assert (p_values <= level).mean() >= 0.55 * level - chance, level


@pytest.mark.parametrize(("scheme", "prf"), SCHEMES)
def test_a_marked_text_is_found_and_another_key_finds_nothing(scheme: str, prf: str) -> None:
    text = text_with_high_scores(60, scheme, prf, np.random.default_rng(1))
    assert detect(text, profile_of(scheme, prf), KEY).log10_p < -8
    other = WatermarkKey(b"o" * 32)
    profile = profile_of(scheme, prf, key_id=other.key_id)
    assert detect(text, profile, other).log10_p > -3.5


def test_repeated_text_has_the_p_value_of_the_text_once() -> None:
    text = marked_text(60, LAW, np.random.default_rng(5))
    once = detect(text, profile_of(), KEY)
    again = detect(np.tile(text, 50), profile_of(), KEY)
    # The seams between the copies are four windows of their own.
    assert again.num_scored - once.num_scored == 4
    assert again.log10_p > once.log10_p - 3
    assert again.num_repeated == 3000 - 4 - again.num_scored
    unmarked = np.random.default_rng(6).integers(0, 40_000, size=60)
    assert detect(np.tile(unmarked, 1000), profile_of(), KEY).log10_p > -3


def test_a_marked_prompt_does_not_make_its_echo_guilty() -> None:
    rng = np.random.default_rng(8)
    prompt = marked_text(80, LAW, rng)
    answer = rng.integers(4000, 40_000, size=80)
    echo = np.concatenate([prompt, answer])
    assert detect(echo, profile_of(), KEY).log10_p < -8
    found = detect(echo, profile_of(), KEY, prompt=prompt)
    assert found.log10_p > -3
    assert found.num_in_prompt == detect(prompt, profile_of(), KEY).num_scored


def test_common_ngrams_are_not_counted() -> None:
    rng = np.random.default_rng(9)
    phrase = marked_text(40, LAW, rng)
    documents = [np.concatenate([rng.integers(0, 40_000, size=30), phrase]) for _ in range(12)]
    common = NgramFilter.of(
        (ngram_hashes(one, 4) for one in documents), context_width=4, tokenizer_sha256=TOKENIZER
    )
    innocent = np.concatenate([rng.integers(0, 40_000, size=100), phrase])
    assert detect(innocent, profile_of(), KEY).log10_p < -5
    found = detect(innocent, profile_of(), KEY, common=common)
    assert found.log10_p > -3
    assert found.num_common + found.num_repeated == 36


@pytest.mark.parametrize("num_tokens", [0, 1, 4])
def test_a_text_without_a_whole_context_says_nothing(num_tokens: int) -> None:
    found = detect(np.arange(num_tokens), profile_of(), KEY)
    assert (found.log10_p, found.p_value, found.num_scored) == (0.0, 1.0, 0)
    assert found.num_without_context == num_tokens
    assert not found.is_marked(0.5)


def test_texts_are_judged_one_by_one_however_many_there_are() -> None:
    rng = np.random.default_rng(11)
    texts = [rng.integers(0, 50, size=size) for size in rng.integers(0, 9000, size=40)]
    together = detect_many(texts, profile_of(), KEY)
    assert together == [detect(text, profile_of(), KEY) for text in texts]
    assert detect_many([], profile_of(), KEY) == []


def test_a_mark_in_a_thousand_languages_is_only_ids() -> None:
    # Lists, small and large types: the same ids give the same numbers.
    ids = [5, 300, 49_151, 7, 12, 2**31 - 1, 9]
    first = detect(ids, profile_of(), KEY)
    assert detect(np.array(ids, dtype=np.uint32), profile_of(), KEY) == first


def test_evidence_below_the_smallest_float_is_told() -> None:
    found = detect(marked_text(2500, LAW, np.random.default_rng(2)), profile_of(), KEY)
    assert found.log10_p < -330
    assert found.p_value == 0.0
    assert found.document()["log10_p"] == found.log10_p


@pytest.mark.slow
def test_ten_million_tokens_are_one_text() -> None:
    half = np.random.default_rng(0).integers(0, 3000, 5_000_000)
    found = detect(np.tile(half, 2), profile_of(), KEY)
    assert found.num_scored + found.num_repeated == 10_000_000 - 4
    assert found.num_repeated >= 4_999_990
    assert -4 < found.log10_p <= 0
    assert locate_marks(half, profile_of(), KEY) == []


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([-1, 2, 3], DataError),
        ([1.5, 2.0], DataError),
        (["a"], DataError),
        ([[1, 2], [3, 4]], ShapeError),
        ([2**31], DataError),
        (7, ShapeError),
    ],
)
def test_what_is_no_text_is_refused(ids: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="ids"):
        detect(ids, profile_of(), KEY)  # type: ignore[arg-type]


def test_another_key_tokenizer_or_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="key"):
        detect([1] * 9, profile_of(), WatermarkKey(b"o" * 32))
    common = NgramFilter.of([], context_width=3, tokenizer_sha256=TOKENIZER)
    with pytest.raises(ConfigError, match="contexts of 3 tokens"):
        detect([1] * 9, profile_of(), KEY, common=common)
    common = NgramFilter.of([], context_width=4, tokenizer_sha256="1" * 64)
    with pytest.raises(ConfigError, match="tokenizer 111111111111"):
        detect([1] * 9, profile_of(), KEY, common=common)
    with pytest.raises(ShapeError, match="1 prompts for 2 texts"):
        detect_many([[1], [2]], profile_of(), KEY, prompts=[[1]])


@pytest.mark.parametrize(("scheme", "prf"), SCHEMES)
def test_critical_sums_are_the_least_that_are_rare_enough(scheme: str, prf: str) -> None:
    null = null_law(profile_of(scheme, prf))
    counts = np.array([1, 3, 20, 300])
    for log10_level in (-1.0, -3.0, -8.0):
        critical = critical_sums(null, counts, log10_level)
        can = np.isfinite(critical)
        assert (log10_tail(null, critical[can], counts[can]) <= log10_level + 1e-6).all()
        step = 1.0 if scheme in ("kgw", "synthid") else 1e-4
        below = np.maximum(critical[can] - step, 0)
        assert (log10_tail(null, below, counts[can]) > log10_level - 1e-6).all()
    # No number of green tokens among three is as rare as 1e-3.
    assert (critical_sums(null_law(profile_of("kgw")), [3], -3.0) == np.inf).all()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_first_places_are_right_where_hashes_share_their_first_bits(
    keys: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # Many of them differ in their last bits alone, and some are the same.
    near = [(key & ~0xFF) | int(rng.integers(4)) for key in keys for _ in range(3)]
    array = np.array(near, dtype=np.uint64)
    first, is_first = _first_places(array)
    assert first.tolist() == [near.index(key) for key in near]
    assert is_first.tolist() == [near.index(key) == place for place, key in enumerate(near)]
