"""Radioactivity on models of counts: what is found, and that the innocent are not accused."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_marks import SCHEMES, SIZE, CountStudent, read, teacher_laws, toy_key, toy_profile, write

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.protect._keyed import decoy_scores, keyed_scores
from stillhouse.protect._power import contexts_needed, detectable_share, expected_log10_p
from stillhouse.protect._test import TokenTest
from stillhouse.protect._weights import (
    CorpusContexts,
    WeightedTokens,
    fresh_windows,
    written_tokens,
)
from stillhouse.protect._written import less_expected
from stillhouse.statistics import ExponentialLaw
from stillhouse.watermark import context_hashes

LAWS = teacher_laws()
HUMAN = write(teacher_laws(9, 0.3), 400, 60, seed=100)


@cache
def student(
    scheme: str, share: float, *, seed: int = 0, num_texts: int = 150
) -> tuple[CountStudent, CountStudent, np.ndarray, np.ndarray]:
    """A student of which a share is marked, its reference, the marked texts and unseen ones."""
    key = toy_key(0)
    profile = toy_profile(scheme, key)
    marked = write(LAWS, num_texts, 80, seed=seed + 1, profile=profile, key=key)
    plain = write(LAWS, num_texts, 80, seed=seed + 2)
    unseen = write(LAWS, 60, 80, seed=seed + 3, profile=profile, key=key)
    cut = round(share * num_texts)
    made = CountStudent.trained(HUMAN, marked[:cut], plain[cut:])
    return made, CountStudent.trained(HUMAN), marked[:cut] if cut else marked, unseen


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_student_of_marked_text_is_found_and_contrast_needs_less_text(scheme: str) -> None:
    made, reference, _, unseen = student(scheme, 0.3)
    key = toy_key(0)
    keyed = keyed_scores(toy_profile(scheme, key), key)
    found = {
        name: TokenTest(tokens, keyed).under(keyed).log10_p
        for name, tokens in read(made, reference, unseen).items()
    }
    assert found["contrast"] < -20
    assert found["contrast"] < found["argmax"]
    assert found["contrast"] < found["soft"]


@pytest.mark.parametrize("scheme", ["kgw", "dual_gumbel"])
def test_against_a_reference_that_knows_the_teacher_half_the_text_is_enough(scheme: str) -> None:
    made, _, _, unseen = student(scheme, 0.3)
    key = toy_key(0)
    keyed = keyed_scores(toy_profile(scheme, key), key)
    knowing = CountStudent.trained(HUMAN, write(LAWS, 100, 80, seed=777))
    argmax = TokenTest(read(made, knowing, unseen)["argmax"], keyed).under(keyed)
    contrast = read(made, knowing, unseen)["contrast"]
    half = TokenTest(contrast.first(len(contrast) // 2), keyed).under(keyed)
    assert half.log10_p < argmax.log10_p


@pytest.mark.parametrize("scheme", SCHEMES)
def test_decoy_keys_find_nothing_in_a_student_of_marked_text(scheme: str) -> None:
    made, reference, marked, _ = student(scheme, 1.0)
    key = toy_key(0)
    profile = toy_profile(scheme, key)
    keyed = keyed_scores(profile, key)
    test = TokenTest(read(made, reference, marked[:25])["contrast"], keyed)
    real = test.under(keyed)
    decoys = test.decoys(decoy_scores(profile, 200), real)
    assert real.log10_p < -20
    assert decoys.num_above == 0
    assert abs(decoys.z_mean) < 0.2
    assert abs(decoys.z_sd - 1) < 0.15
    assert decoys.num_below <= 8
    assert decoys.is_sound


@pytest.mark.parametrize("statistic", ["contrast", "soft", "argmax"])
def test_an_innocent_reader_of_marked_text_is_not_accused(statistic: str) -> None:
    """The marked text depends on the key, which decoys cannot see: here each key writes its own."""
    suspect = CountStudent.trained(HUMAN, write(LAWS, 100, 80, seed=4))
    reference = CountStudent.trained(HUMAN)
    z = []
    for number in range(40):
        key = toy_key(1_000 + number)
        profile = toy_profile("gumbel", key)
        keyed = keyed_scores(profile, key)
        texts = write(LAWS, 6, 50, seed=5_000 + number, profile=profile, key=key)
        z.append(TokenTest(read(suspect, reference, texts)[statistic], keyed).under(keyed).z)
    assert abs(np.mean(z)) < 4 / math.sqrt(40)
    assert abs(np.std(z) - 1) < 0.4


def test_repeating_the_texts_does_not_make_the_evidence_stronger() -> None:
    made, reference, _, unseen = student("gumbel", 0.3)
    once = read(made, reference, unseen[:20])["contrast"]
    again = read(made, reference, np.concatenate([unseen[:20]] * 5))["contrast"]
    assert len(again) == len(once)
    assert (again.weights_NK == once.weights_NK).all()


def test_copying_inside_a_text_does_not_count() -> None:
    ids = [5, 6, 7, 5, 6, 7, 5, 6, 8]
    windows = fresh_windows((), ids, 2)
    assert windows.positions_N.tolist() == [2, 3, 4]
    assert windows.contexts_N.tolist() == context_hashes(np.array(ids), 2)[:3].tolist()


def test_contexts_of_the_prompt_do_not_count_and_none_reaches_into_it() -> None:
    windows = fresh_windows((5, 6, 7), [9, 5, 6, 1, 2], 2)
    # After (5, 6), which the prompt has, nothing counts; (7, 9) reaches into it.
    assert windows.positions_N.tolist() == [2, 4]


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.lists(st.integers(0, 4), max_size=12),
    completion=st.lists(st.integers(0, 4), max_size=30),
    width=st.integers(1, 4),
)
def test_fresh_windows_are_those_of_a_naive_search(
    prompt: list[int], completion: list[int], width: int
) -> None:
    whole = prompt + completion
    expected = []
    for end in range(len(prompt) + width, len(whole)):
        context = whole[end - width : end]
        if not any(whole[at - width : at] == context for at in range(width, end)):
            expected.append(end - len(prompt))
    assert fresh_windows(prompt, completion, width).positions_N.tolist() == expected


def test_a_corpus_counts_each_pair_once() -> None:
    seen = CorpusContexts()
    contexts = np.array([1, 2, 1, 3], dtype=np.uint64)
    assert seen.new(contexts).tolist() == [True, True, False, True]
    assert seen.new(contexts).tolist() == [False] * 4
    by_token = CorpusContexts()
    ids = np.array([7, 7, 8, 7])
    assert by_token.new(contexts, ids).tolist() == [True] * 4
    assert by_token.new(contexts, ids).tolist() == [False] * 4


def test_a_suspect_that_is_its_own_reference_cannot_be_tested() -> None:
    made, _, _, unseen = student("gumbel", 0.3)
    keyed = keyed_scores(toy_profile("gumbel", toy_key(0)), toy_key(0))
    with pytest.raises(DataError, match="agree in everything"):
        TokenTest(read(made, made, unseen[:10])["contrast"], keyed)


def test_no_context_left_is_said_so() -> None:
    empty = written_tokens(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))
    with pytest.raises(DataError, match="No context is left"):
        TokenTest(empty, keyed_scores(toy_profile("gumbel", toy_key(0)), toy_key(0)))


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ShapeError, match="do not belong together"):
        WeightedTokens(np.zeros(2, np.uint64), np.zeros((3, 1), np.int64), np.zeros((3, 1)))


def test_another_key_than_the_profile_s_is_refused() -> None:
    with pytest.raises(ConfigError, match="key"):
        keyed_scores(toy_profile("kgw", toy_key(0)), toy_key(1))


def test_what_a_closed_model_wrote_is_enough_and_a_reference_helps() -> None:
    key = toy_key(0)
    keyed = keyed_scores(toy_profile("gumbel", key), key)
    made, reference, _, _ = student("gumbel", 1.0)
    ids = made.write(60, 80, seed=50)
    marks = read(made, None, ids)["soft"]
    seen = CorpusContexts()
    tokens = []
    for text in ids:
        windows = fresh_windows((), text.tolist(), 2)
        tokens.append(text[windows.positions_N][seen.new(windows.contexts_N)])
    plain = written_tokens(marks.contexts_N, np.concatenate(tokens))
    alone = TokenTest(plain, keyed).under(keyed)
    expected = read(reference, None, ids)["soft"]
    helped = TokenTest(less_expected(plain, expected), keyed).under(keyed)
    assert alone.log10_p < -5
    assert helped.log10_p < alone.log10_p
    innocent = CountStudent.trained(HUMAN, write(LAWS, 150, 80, seed=2)).write(60, 80, seed=51)
    tokens = read(reference, None, innocent)["argmax"]
    assert TokenTest(tokens, keyed).under(keyed).log10_p > -3


def test_what_was_expected_is_taken_off_whether_it_is_among_the_kept_tokens_or_not() -> None:
    written = written_tokens(np.arange(2, dtype=np.uint64), np.array([4, 9]))
    expected = WeightedTokens(
        np.arange(2, dtype=np.uint64),
        np.array([[4, 5], [4, 5]]),
        np.array([[0.7, 0.2], [0.6, 0.3]]),
    )
    found = less_expected(written, expected)
    assert found.contexts_N.tolist() == [0, 0, 1, 1, 1]
    assert found.ids_NK[:, 0].tolist() == [4, 5, 4, 5, 9]
    assert found.weights_NK[:, 0] == pytest.approx([0.3, -0.2, -0.6, -0.3, 1.0])


def test_a_context_that_came_often_is_added_up_to_one_score_for_each_token() -> None:
    contexts = np.array([7, 7, 7, 7], dtype=np.uint64)
    written = written_tokens(contexts, np.array([1, 1, 2, 1]))
    expected = WeightedTokens(contexts, np.full((4, 1), 1), np.full((4, 1), 0.5))
    found = less_expected(written, expected)
    assert found.ids_NK[:, 0].tolist() == [1, 2]
    assert found.weights_NK[:, 0] == pytest.approx([(3 * 0.5 - 0.5) / 2, 1 / 2])


def test_a_part_of_the_contexts_forecasts_the_rest_within_a_quarter() -> None:
    made, reference, _, unseen = student("gumbel", 0.6)
    key = toy_key(0)
    keyed = keyed_scores(toy_profile("gumbel", key), key)
    tokens = read(made, reference, unseen)["contrast"]
    # Any half: the first contexts of a corpus are its commonest, and tell more than later ones.
    order = np.random.default_rng(0).permutation(len(tokens))
    mixed = WeightedTokens(tokens.contexts_N[order], tokens.ids_NK[order], tokens.weights_NK[order])
    half = mixed.first(len(tokens) // 2)
    told = TokenTest(half, keyed).under(keyed, times=len(tokens) / len(half))
    realised = TokenTest(tokens, keyed).under(keyed)
    assert realised.log10_p < -20
    assert told.log10_p == pytest.approx(realised.log10_p, rel=0.25)
    assert told.num_contexts == realised.num_contexts


def test_the_power_calculator_says_what_simulated_suspects_do() -> None:
    law = ExponentialLaw()
    effect, contexts = 0.6, 2_000
    share = detectable_share(effect, law, contexts, level=1e-3, power=0.8)
    assert share is not None
    generator = np.random.default_rng(3)
    # A suspect follows the mark in a share of its choices; a marked score has mean 1 + effect.
    scores = generator.exponential(size=(1_500, contexts))
    scores *= np.where(generator.random(scores.shape) < share, 1 + effect, 1.0)
    from scipy.special import gammaincc

    found = float(np.mean(gammaincc(contexts, scores.sum(axis=1)) < 1e-3))
    assert found == pytest.approx(0.8, abs=0.05)
    assert contexts_needed(effect, law, share) == pytest.approx(contexts, abs=1)
    assert detectable_share(effect, law, 4, level=1e-6) is None
    assert detectable_share(effect, law, contexts, transfer=0.5) == pytest.approx(2 * share)


def test_expected_p_is_that_of_the_normal_tail_and_falls_with_contexts() -> None:
    law = ExponentialLaw()
    assert expected_log10_p(0.5, law, 0.2, 100) == pytest.approx(math.log10(0.158655), abs=1e-3)
    assert expected_log10_p(0.5, law, 0.2, 10_000) < -20


@pytest.mark.parametrize(
    "changes",
    [{"effect": 0.0}, {"effect": -1.0}, {"level": 0.0}, {"power": 1.0}, {"transfer": 2.0}],
)
def test_forecasts_refuse_what_makes_no_sense(changes: dict[str, float]) -> None:
    given = {"effect": 0.5, "level": 1e-3, "power": 0.8, "transfer": 1.0, **changes}
    effect = given.pop("effect")
    with pytest.raises(ConfigError):
        detectable_share(effect, ExponentialLaw(), 100, **given)


def test_the_toy_vocabulary_is_the_one_that_laws_have() -> None:
    assert LAWS.shape == (SIZE, SIZE)
