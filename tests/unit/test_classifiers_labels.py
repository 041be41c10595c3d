"""What a classifier may be taught, and what it says about labels that it was not."""

from typing import Any

import numpy as np
import pytest

from stillhouse.classifiers._folds import folds_of
from stillhouse.classifiers._labels import labelled_rows
from stillhouse.errors import DataError, ShapeError

TEXTS = ["a", "b", "c"]
LABELS = ("x", "y", "z")
TARGETS = np.array([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 1.0, 0.0]])


def rows(targets: Any = TARGETS, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"texts": TEXTS, "labels": LABELS, **changes}
    return labelled_rows(arguments.pop("texts"), targets, **arguments)


def test_the_prior_counts_half_a_row_more_for_each_label() -> None:
    space = rows().space
    np.testing.assert_allclose(space.prior_L, np.array([1.75, 2.25, 0.5]) / 4.5)
    assert space.prior_L.sum() == pytest.approx(1)
    assert space.is_learnt_L.tolist() == [True, True, False]
    assert space.unseen == ("z",)


def test_weights_count_in_the_prior() -> None:
    space = rows(weights_N=[0.0, 0.0, 5.0], targets=TARGETS[[0, 1, 1]]).space
    np.testing.assert_allclose(space.prior_L, np.array([1.25, 2.75, 0.5]) / 4.5)


def test_an_unseen_label_is_a_warning_that_names_it() -> None:
    (warning,) = rows().warnings()
    assert "1 of 3 labels" in warning
    assert "'z'" in warning
    assert rows(np.eye(3)).warnings() == ()


def test_an_unseen_label_has_its_prior_for_every_text() -> None:
    space = rows().space
    logits = space.complete(np.array([[3.0, -1.0], [200.0, 200.0]]))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p[:, 2], space.prior_L[2])
    assert logits[0, 0] - logits[0, 1] == pytest.approx(4)
    given = space.spread(np.array([[0.9, 0.1]]))
    np.testing.assert_allclose(given, [[0.9 * 8 / 9, 0.1 * 8 / 9, 1 / 9]])


def test_of_several_labels_those_that_all_or_no_rows_have_keep_their_prior() -> None:
    targets = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    space = rows(targets, is_multiple=True).space
    assert space.is_learnt_L.tolist() == [True, False, False]
    assert space.unseen == ("z",)
    np.testing.assert_allclose(space.prior_L, [2.5 / 4, 3.5 / 4, 0.5 / 4])
    p = 1 / (1 + np.exp(-space.complete(np.array([[0.0]]))))
    np.testing.assert_allclose(p, [[0.5, 3.5 / 4, 0.5 / 4]])
    np.testing.assert_allclose(space.spread(np.array([[0.2]])), [[0.2, 3.5 / 4, 0.5 / 4]])


@pytest.mark.parametrize(
    ("targets", "changes", "error", "message"),
    [
        (np.zeros((0, 3)), {"texts": []}, DataError, "no rows"),
        (TARGETS[:2], {}, ShapeError, r"\(2, 3\) for 3 texts and 3 labels"),
        (TARGETS * np.nan, {}, DataError, "3 of 3 rows .* row 0"),
        (TARGETS + np.inf, {}, DataError, "no probabilities"),
        (TARGETS - 0.1, {}, DataError, "no probabilities"),
        (TARGETS * 2, {}, DataError, "no probabilities"),
        (TARGETS / 2, {}, DataError, "row 0 sum to 0.5"),
        (TARGETS[[0, 0, 0]], {}, DataError, "same label .*'x'.*nothing to tell apart"),
        (np.zeros((3, 3)), {"is_multiple": True}, DataError, "none"),
        (TARGETS, {"labels": ("x", "x", "y")}, DataError, "twice: 'x'"),
        (np.ones((3, 1)), {"labels": ("x",)}, DataError, "at least 2"),
        (TARGETS, {"weights_N": [1.0]}, ShapeError, r"\(1,\) for 3 rows"),
        (TARGETS, {"weights_N": [1.0, -1.0, 1.0]}, DataError, "not negative"),
        (TARGETS, {"weights_N": [1.0, np.nan, 1.0]}, DataError, "finite"),
        (TARGETS, {"weights_N": [0.0, 0.0, 0.0]}, DataError, "all zero"),
        (TARGETS, {"weights_N": [1.0, 0.0, 0.0]}, DataError, "nothing to tell apart"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    targets: Any, changes: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        rows(targets, **changes)


def test_rounded_probabilities_are_made_to_sum_to_one() -> None:
    assert rows(TARGETS + np.array([0, 0, 3e-5])).targets_NL.sum(axis=1) == pytest.approx(
        1, abs=1e-15
    )


def test_folds_are_equal_in_size_and_share_every_label() -> None:
    labels = np.repeat([0, 1, 2], [50, 25, 5])
    folds = folds_of(np.eye(3)[labels], 5, seed=0)
    assert np.bincount(folds).tolist() == [16] * 5
    for label, share in ((0, 10), (1, 5), (2, 1)):
        assert np.bincount(folds[labels == label]).tolist() == [share] * 5
    assert (folds == folds_of(np.eye(3)[labels], 5, seed=0)).all()
    assert (folds != folds_of(np.eye(3)[labels], 5, seed=1)).any()
