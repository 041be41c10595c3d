"""What linear models of the other rows say: never from the row itself, and always probabilities."""

import numpy as np
import numpy.typing as npt
import pytest

from stillhouse.classifiers import EncoderConfig
from stillhouse.classifiers._labels import LabelledRows, labelled_rows
from stillhouse.classifiers._others import said_by_others
from stillhouse.runlog import ignore_progress


def _blobs(
    num_rows: int, num_labels: int, *, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Rows around one corner of a simplex for each label, far apart."""
    generator = np.random.default_rng(seed)
    labels_N = np.arange(num_rows) % num_labels
    states_NF = generator.normal(scale=0.1, size=(num_rows, num_labels)).astype(np.float32)
    states_NF[np.arange(num_rows), labels_N] += 1.0
    return states_NF, labels_N


def _rows(targets_NL: npt.ArrayLike, *, is_multiple: bool = False) -> LabelledRows:
    targets_NL = np.asarray(targets_NL, dtype=np.float64)
    num_rows, num_labels = targets_NL.shape
    return labelled_rows(
        [f"text {row}" for row in range(num_rows)],
        targets_NL,
        labels=[f"label {label}" for label in range(num_labels)],
        is_multiple=is_multiple,
    )


def test_a_wrong_answer_is_not_confirmed_by_itself() -> None:
    states_NF, labels_N = _blobs(120, 3)
    given_N = labels_N.copy()
    wrong_N = np.arange(0, 120, 12)
    given_N[wrong_N] = (given_N[wrong_N] + 1) % 3

    said_NS = said_by_others(
        [states_NF], _rows(np.eye(3)[given_N]), seed=0, on_progress=ignore_progress
    )

    assert (said_NS.argmax(axis=1) == labels_N).all()
    np.testing.assert_allclose(said_NS.sum(axis=1), 1.0, rtol=1e-12)


def test_a_row_that_nothing_foretells_is_not_learnt_by_heart() -> None:
    generator = np.random.default_rng(0)
    states_NF = generator.normal(size=(200, 50)).astype(np.float32)
    given_N = generator.integers(2, size=200)

    said_NS = said_by_others(
        [states_NF], _rows(np.eye(2)[given_N]), seed=0, on_progress=ignore_progress
    )

    # A model that had seen the rows would tell them all: 50 features separate them nearly always.
    of_given_N = said_NS[np.arange(200), given_N]
    assert of_given_N.mean() < 0.55
    assert said_NS.max() < 0.9


def test_a_second_kind_of_features_helps_where_the_first_says_nothing() -> None:
    states_NF, labels_N = _blobs(100, 2)
    rows = _rows(np.eye(2)[labels_N])
    silent_NF = np.zeros((100, 3), dtype=np.float32)

    alone_NS = said_by_others([silent_NF], rows, seed=0, on_progress=ignore_progress)
    both_NS = said_by_others([silent_NF, states_NF], rows, seed=0, on_progress=ignore_progress)

    of_label = np.arange(100), labels_N
    assert alone_NS[of_label].mean() == pytest.approx(0.5, abs=0.05)
    assert both_NS[of_label].mean() > 0.9


def test_several_labels_have_a_probability_each() -> None:
    states_NF, labels_N = _blobs(90, 3)
    targets_NL = np.eye(3)[labels_N]
    targets_NL[:, 0] = 1.0 - targets_NL[:, 1]  # label 0 wherever label 1 is not

    said_NS = said_by_others(
        [states_NF], _rows(targets_NL, is_multiple=True), seed=0, on_progress=ignore_progress
    )

    assert ((said_NS > 0.5) == (targets_NL > 0.5)).all()
    assert said_NS.sum(axis=1).max() > 1.5


@pytest.mark.parametrize("num_rows", [2, 3, 6])
def test_a_handful_of_rows_is_enough_to_say_something(num_rows: int) -> None:
    states_NF, labels_N = _blobs(num_rows, 2)

    said_NS = said_by_others(
        [states_NF], _rows(np.eye(2)[labels_N]), seed=0, on_progress=ignore_progress
    )

    assert said_NS.shape == (num_rows, 2)
    assert np.isfinite(said_NS).all()


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_beyond_a_whole_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="others_share"):
        EncoderConfig(others_share=share)
