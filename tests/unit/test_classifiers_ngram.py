"""The n-gram student: its features, its answers, and that it needs no torch."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillhouse.classifiers import (
    NgramConfig,
    fit_ngram,
    load_classifier,
    probabilities,
    save_classifier,
)
from stillhouse.classifiers._ngrams import char_grams, learn_vocabulary, word_grams
from stillhouse.errors import ConfigError, DataError
from stillhouse.settings import check_settings

LABELS = ("card", "rate", "top_up")
TEXTS = [
    "I lost my card",
    "my card was stolen",
    "the card has not arrived",
    "what is the exchange rate",
    "the rate seems wrong",
    "which rates do you use",
    "my top up failed",
    "top up by cash",
    "I want to top up",
]
TARGETS = np.repeat(np.eye(3), 3, axis=0)


def fit(texts: Sequence[str] = TEXTS, targets: Any = TARGETS, **options: Any) -> Any:
    return fit_ngram(texts, targets, **{"labels": LABELS, **options})


def test_character_grams_stay_inside_words_and_mark_their_edges() -> None:
    assert list(char_grams("ab", (2, 3))) == [" a", "ab", "b ", " ab", "ab "]
    assert list(char_grams("a", (3, 5))) == [" a "]


def test_word_grams_ignore_punctuation() -> None:
    assert list(word_grams("don't, stop", (1, 2))) == ["don", "t", "stop", "don t", "t stop"]


def test_features_are_those_of_a_naive_count() -> None:
    config = NgramConfig(char_lengths=(2, 2), word_lengths=(1, 1), min_texts=1)
    vocabulary = learn_vocabulary(["aa aa", "ab"], config)
    assert vocabulary.chars == (" a", "a ", "aa", "ab", "b ")
    assert vocabulary.words == ("aa", "ab")
    ids, values = vocabulary.features("aa aa")
    rare, common = np.log(3 / 2) + 1, 1.0  # ln(3 / 3) + 1 for " a", which both texts have
    raw = np.array([common, rare, rare, rare]) * (1 + np.log(2))
    assert ids.tolist() == [0, 1, 2, 5]
    np.testing.assert_allclose(values, raw / np.sqrt((raw**2).sum()), rtol=1e-6)


def test_the_matrix_has_the_rows_of_single_texts() -> None:
    vocabulary = learn_vocabulary(TEXTS, NgramConfig())
    matrix = vocabulary.matrix([*TEXTS, "", "zzz"])
    assert matrix.shape == (len(TEXTS) + 2, len(vocabulary))
    for row, text in enumerate([*TEXTS, "", "zzz"]):
        ids, values = vocabulary.features(text)
        found = matrix[[row]].tocsr()
        assert found.indices.tolist() == ids.tolist()
        np.testing.assert_array_equal(found.data, values)


def test_rare_grams_are_left_out_and_the_most_frequent_kept() -> None:
    texts = ["aa bb", "aa bb", "aa cc"]
    config = NgramConfig(char_lengths=(2, 2), word_lengths=(1, 1))
    assert learn_vocabulary(texts, config).words == ("aa", "bb")
    few = config.model_copy(update={"max_features": 3})
    vocabulary = learn_vocabulary(texts, few)
    assert (vocabulary.chars, vocabulary.words) == ((" a", "a ", "aa"), ())


def test_where_no_gram_is_frequent_enough_each_one_counts() -> None:
    assert len(learn_vocabulary(["ab", "cd"], NgramConfig())) > 0


def test_case_and_compatible_characters_do_not_matter() -> None:
    student = fit()
    np.testing.assert_array_equal(
        student.logits(["MY TOP UP"]), student.logits(["my \uff54\uff4f\uff50 up"])
    )


def test_it_learns_what_its_words_say() -> None:
    student = fit()
    answers = probabilities(student, ["a stolen card", "exchange rates", "top up with cash"])
    assert answers.argmax(axis=1).tolist() == [0, 1, 2]
    assert student.report.num_rows == student.report.num_held_out == 9
    assert student.report.l2 is not None
    assert student.report.held_out_agreement is not None


def test_soft_targets_are_learnt_as_they_are() -> None:
    student = fit(
        ["red", "red", "blue", "blue"] * 50,
        [[0.7, 0.3], [0.7, 0.3], [0, 1], [0, 1]] * 50,
        labels=("x", "y"),
    )
    np.testing.assert_allclose(probabilities(student, ["red"]), [[0.7, 0.3]], atol=0.02)


def test_several_labels_a_text_have_probabilities_of_their_own() -> None:
    texts = ["red car", "red", "car", "sky"] * 10
    targets = [[1, 1], [1, 0], [0, 1], [0, 0]] * 10
    student = fit(texts, targets, labels=("red", "car"), is_multiple=True)
    given = probabilities(student, ["red car", "sky"])
    assert (given[0] > 0.8).all()
    assert (given[1] < 0.2).all()


def test_blank_texts_get_the_prior() -> None:
    student = fit(TEXTS[:4], TARGETS[:4])
    prior = np.array([3.5, 1.5, 0.5]) / 5.5
    np.testing.assert_allclose(probabilities(student, ["", " \n\t"]), [prior, prior])
    np.testing.assert_allclose(student.logits([""]), [np.log(prior)])


def test_no_texts_give_no_rows() -> None:
    assert probabilities(fit(), []).shape == (0, 3)


def test_a_label_without_a_row_is_reported_and_keeps_its_prior() -> None:
    student = fit(TEXTS[:6], TARGETS[:6])
    assert student.report.unseen_labels == ("top_up",)
    assert "'top_up'" in student.report.warnings[0]
    given = probabilities(student, [*TEXTS, "", "x"])
    np.testing.assert_allclose(given[:, 2], 0.5 / 7.5)
    np.testing.assert_allclose(given.sum(axis=1), 1)


def test_a_text_gets_the_same_answer_alone_and_among_others() -> None:
    student = fit()
    alone = np.concatenate([student.logits([text]) for text in TEXTS])
    np.testing.assert_array_equal(alone, student.logits(TEXTS))


def test_hundred_thousand_characters_are_read() -> None:
    student = fit()
    words = "top up " * 15_000
    assert probabilities(student, [words]).argmax() == 2
    assert np.isfinite(student.logits(["x" * 100_000, "\ud800 \x00", "\u4e2d" * 1000])).all()


def test_all_blank_texts_are_refused() -> None:
    with pytest.raises(DataError, match="All 2 texts are blank"):
        fit(["", "  "], np.eye(2), labels=("x", "y"))


def test_the_seed_says_which_rows_are_held_out_and_nothing_else() -> None:
    first, again = fit(seed=3), fit(seed=3)
    np.testing.assert_array_equal(first.head.weights_FL, again.head.weights_FL)
    fixed = NgramConfig(l2=0.1)
    one, other = (probabilities(fit(seed=seed, config=fixed), TEXTS) for seed in (4, 5))
    assert (one.argmax(axis=1) == other.argmax(axis=1)).all()


def test_progress_counts_the_penalties_tried() -> None:
    seen: list[Any] = []
    fit(on_progress=seen.append)
    assert {progress.stage for progress in seen} == {"fit ngram"}
    assert seen[0].done == 0


@pytest.mark.parametrize("lengths", [[0, 2], [3, 2], [1, 11]])
def test_impossible_lengths_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ConfigError, match="char_lengths is"):
        check_settings(NgramConfig, {"char_lengths": lengths}, where="fit")


def test_it_is_the_same_in_another_process_and_loads_no_torch(tmp_path: Path) -> None:
    student = fit()
    save_classifier(student, tmp_path)
    program = f"""
import sys
from pathlib import Path
import numpy as np
from stillhouse.classifiers import fit_ngram, load_classifier, save_classifier
texts = {TEXTS!r}
student = fit_ngram(texts, np.repeat(np.eye(3), 3, axis=0), labels={LABELS!r})
save_classifier(student, Path({str(tmp_path / "again")!r}))
load_classifier(Path({str(tmp_path)!r})).logits(texts)
loaded = {{"torch", "transformers", "tokenizers"}} & set(sys.modules)
sys.exit(f"loaded {{loaded}}" if loaded else 0)
"""
    (tmp_path / "again").mkdir()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    for name in ("classifier.json", "vocabulary.json"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    loaded = load_classifier(tmp_path / "again")
    np.testing.assert_allclose(loaded.logits(TEXTS), student.logits(TEXTS), rtol=1e-3)
