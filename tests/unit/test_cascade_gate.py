"""What is familiar: states of texts, centres, thresholds and files."""

from pathlib import Path

import numpy as np
import pytest
from cascade_cases import topic_texts

from stillhouse.cascade import GateConfig, fit_gate, load_gate, save_gate, text_states
from stillhouse.cascade._text_states import _of_word
from stillhouse.errors import DataError, IntegrityError, ShapeError


def states(number: int, seed: int, *, width: int = 16, far: float = 0.0) -> np.ndarray:
    """Around three directions, or with `far` around another one."""
    rng = np.random.default_rng(seed)
    middles = np.eye(width)[[3] * number if far else rng.integers(0, 3, number)]
    return middles + 0.15 * rng.normal(size=(number, width))


def test_states_of_texts_have_length_one_and_do_not_depend_on_each_other() -> None:
    texts = ["My card was declined", "", "???", "a \ud800 b", "word " * 3_000]
    found = text_states(texts)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 0, 0, 1, 1])
    for row, text in enumerate(texts):
        assert (text_states([text])[0] == found[row]).all()
    # Case, compatible characters and punctuation say nothing; order of words does a little.
    same, other = text_states(["my CARD\uff0c was declined!", "declined was card my"])
    assert same @ found[0] == pytest.approx(1.0)
    assert 0.5 < other @ found[0] < 0.99


def test_a_hashed_state_is_the_same_on_every_machine() -> None:
    # The grams of " card " with 2 to 5 characters, and the word, which is one of them.
    state = text_states(["card"])[0]
    assert np.flatnonzero(state).size <= 14
    assert np.flatnonzero(state)[:4].tolist() == [9, 48, 88, 148]


def test_what_was_learnt_is_familiar_and_what_is_strange_is_not() -> None:
    gate = fit_gate(states(300, 0), states(200, 1), reads="states")
    learnt = gate.novelty([""] * 50, states(300, 0)[:50])
    assert learnt.max() < 1e-3  # but for the bytes that centres are kept in
    strange = gate.novelty([""] * 50, states(50, 2, far=1.0))
    assert (strange > gate.threshold).all()


def test_a_new_text_of_the_same_kind_is_refused_as_seldom_as_was_said() -> None:
    refused = []
    for seed in range(60):
        gate = fit_gate(
            states(100, 3 * seed),
            states(99, 3 * seed + 1),
            reads="states",
            config=GateConfig(refused_fraction=0.05),
        )
        refused.append(
            (gate.novelty([""] * 200, states(200, 3 * seed + 2)) > gate.threshold).mean()
        )
    assert 0.03 < np.mean(refused) < 0.065  # 5 in 100 by the conformal quantile


def test_few_calibration_texts_give_their_largest_novelty() -> None:
    calibration = states(20, 1)
    gate = fit_gate(states(100, 0), calibration, reads="states")
    assert gate.threshold == gate.novelty([""] * 20, calibration).max()


def test_many_texts_become_few_centres_that_know_them_all() -> None:
    training = states(2_000, 0)
    gate = fit_gate(training, states(400, 1), reads="states", config=GateConfig(max_centres=100))
    assert gate.centres_CD.shape == (100, 16)
    fresh = gate.novelty([""] * 400, states(400, 2))
    assert (fresh > gate.threshold).mean() < 0.04
    assert (gate.novelty([""] * 50, states(50, 3, far=1.0)) > gate.threshold).all()


def test_a_gate_of_texts_needs_no_states_and_refuses_other_talk() -> None:
    gate = fit_gate(
        text_states(topic_texts(200)), text_states(topic_texts(100, start=200)), reads="texts"
    )
    assert not gate.needs_states
    assert (gate.novelty(topic_texts(50, start=400)) <= gate.threshold).mean() > 0.9
    strange = gate.novelty(["recite a poem about winter", "", "xyzzy plugh"])
    assert (strange > gate.threshold).all()
    assert strange[1] == 0.5


def test_a_gate_on_disk_is_the_gate_that_was_made(tmp_path: Path) -> None:
    gate = fit_gate(states(300, 0), states(200, 1), reads="states")
    save_gate(gate, tmp_path)
    again = load_gate(tmp_path)
    asked = states(100, 5)
    assert again.header == gate.header
    assert (again.novelty([""] * 100, asked) == gate.novelty([""] * 100, asked)).all()


def test_a_damaged_gate_is_refused(tmp_path: Path) -> None:
    gate = fit_gate(states(50, 0), states(50, 1), reads="states")
    save_gate(gate, tmp_path)
    centres = tmp_path / "gate.safetensors"
    whole = centres.read_bytes()
    centres.write_bytes(whole[:-40])
    with pytest.raises(IntegrityError, match="sound gate"):
        load_gate(tmp_path)
    centres.write_bytes(whole)
    header = tmp_path / "gate.json"
    header.write_text(header.read_text().replace('"states"', '"texts"'))
    with pytest.raises(IntegrityError, match="512"):
        load_gate(tmp_path)
    header.unlink()
    with pytest.raises(IntegrityError, match="sound gate"):
        load_gate(tmp_path)


def test_states_that_do_not_fit_are_refused() -> None:
    gate = fit_gate(states(50, 0), states(50, 1), reads="states")
    with pytest.raises(ShapeError, match=r"Classifier\.states"):
        gate.novelty(["a"])
    with pytest.raises(ShapeError, match="width 16"):
        gate.novelty(["a"], np.ones((1, 8)))
    with pytest.raises(DataError, match="not all finite"):
        gate.novelty(["a"], np.full((1, 16), np.nan))
    with pytest.raises(DataError, match="0 training"):
        fit_gate(np.zeros((0, 4)), np.ones((3, 4)), reads="states")
    with pytest.raises(ShapeError, match="8 and 4 wide"):
        fit_gate(np.ones((2, 8)), np.ones((3, 4)), reads="states")


def test_a_word_without_end_costs_no_more_than_a_long_one() -> None:
    endless, long = text_states(["x" * 1_000_000, "x" * 64])
    assert np.array_equal(endless, long)
    assert len(_of_word("y" * 64)) < 300  # of what is kept of it
