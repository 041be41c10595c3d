"""Attribution without a watermark: right teachers, no false ones, and when it must not answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_marks import SIZE, teacher_laws, write

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.protect._attribution import Agreements, attribute

TEACHERS = ("ash", "birch", "cedar", "dogwood")
HUMAN = teacher_laws(50, 0.3)


def teacher(seed: int) -> np.ndarray:
    """A model of the same family: the human law with habits of its own."""
    habits = np.random.default_rng(seed).normal(0, 0.5, HUMAN.shape)
    law = HUMAN * np.exp(habits)
    return law / law.sum(axis=1, keepdims=True)


LAWS = [teacher(seed) for seed in range(len(TEACHERS))]
READ = write(HUMAN, 60, 30, seed=900)


def counted(ids: np.ndarray) -> np.ndarray:
    counts = 0.3 * HUMAN * 20  # the base that all share
    np.add.at(counts, (ids[:, :-1].ravel(), ids[:, 1:].ravel()), 1.0)
    return counts / counts.sum(axis=1, keepdims=True)


def distilled(law: np.ndarray, seed: int, num_texts: int = 150) -> np.ndarray:
    return counted(write(law, num_texts, 40, seed=seed))


def overlaps(law: np.ndarray) -> np.ndarray:
    """(P, J) mean overlap with each teacher over the positions of each text."""
    by_token = np.stack([np.minimum(law, own).sum(axis=1) for own in LAWS], axis=1)
    return by_token[READ].mean(axis=1)


def control(number: int) -> np.ndarray:
    """Of the same base, trained on human text or on that of a model that is no candidate."""
    return distilled(HUMAN if number % 2 else teacher(100 + number), 3_000 + number)


CONTROLS = np.stack([overlaps(control(number)) for number in range(8)])
BETWEEN = np.stack([overlaps(law) for law in LAWS])


def named(law: np.ndarray, level: float = 0.01) -> str | None:
    return attribute(Agreements(overlaps(law), CONTROLS, BETWEEN), TEACHERS, level=level).teacher


def test_students_are_given_to_their_teachers() -> None:
    right = [
        named(distilled(LAWS[number % 4], 10_000 + number)) == TEACHERS[number % 4]
        for number in range(28)
    ]
    assert np.mean(right) >= 0.85


def test_models_of_the_same_base_that_learnt_from_nobody_here_are_not_accused() -> None:
    accused = [named(control(number)) is not None for number in range(200, 260)]
    # One in a hundred is allowed: of 60, three or more have a chance of 2 %.
    assert sum(accused) <= 2


def test_p_values_of_controls_are_not_too_small() -> None:
    smallest = []
    for number in range(400, 450):
        found = attribute(
            Agreements(overlaps(control(number)), CONTROLS, BETWEEN), TEACHERS, level=0.01
        )
        smallest.append(min(one.p_adjusted for one in found.findings))
    for level in (0.05, 0.1, 0.2):
        assert np.mean(np.array(smallest) <= level) <= level + 3 * np.sqrt(level / 50)


def test_a_perfect_copy_has_the_imitation_of_one() -> None:
    found = attribute(Agreements(overlaps(LAWS[1]), CONTROLS, BETWEEN), TEACHERS, level=0.01)
    assert found.teacher == "birch"
    finding = found.findings[1]
    assert finding.imitation == pytest.approx(1.0)
    assert 0 < finding.detectable < 0.6
    assert [one.excess < 0 for one in found.findings] == [True, False, True, True]


def test_a_student_of_two_teachers_is_given_to_neither_or_to_the_one_that_leads() -> None:
    half = np.concatenate([write(LAWS[0], 100, 40, seed=7), write(LAWS[1], 100, 40, seed=8)])
    mixed = attribute(Agreements(overlaps(counted(half)), CONTROLS, BETWEEN), TEACHERS, level=0.2)
    assert set(mixed.candidates) <= {"ash", "birch"}
    assert mixed.teacher in (None, *mixed.candidates)


def test_two_teachers_that_are_one_model_cannot_be_told_apart() -> None:
    """The suspect is as close to one as to the other: neither is preferred."""
    twice = [0, 0, 2, 3]
    suspect = overlaps(distilled(LAWS[0], 77))[:, twice]
    between = np.stack([overlaps(LAWS[j])[:, twice] for j in twice])
    found = attribute(Agreements(suspect, CONTROLS[:, :, twice], between), TEACHERS, level=0.05)
    assert found.teacher is None
    assert found.findings[0].p_adjusted == pytest.approx(found.findings[1].p_adjusted)


def test_many_texts_do_not_make_up_for_few_models() -> None:
    """A control, a hair closer to one teacher than all others, on ten thousand texts."""
    generator = np.random.default_rng(0)
    means = 0.6 + generator.normal(0, 0.01, (6, 4))
    means[0] = means[1:].mean(axis=0)
    means[0, 0] = means[1:, 0].max() + 0.005
    models = means[:, None] + generator.normal(0, 0.001, (6, 10_000, 4))
    between = np.full((4, 10_000, 4), 0.6)
    between[np.arange(4), :, np.arange(4)] = 1.0
    found = attribute(Agreements(models[0], models[1:], between), TEACHERS, level=0.01)
    assert found.findings[0].p_texts < 1e-6
    assert found.findings[0].p_models > 0.01
    assert found.teacher is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), order=st.permutations(range(4)))
def test_the_order_of_teachers_does_not_count(seed: int, order: list[int]) -> None:
    suspect = overlaps(distilled(LAWS[seed % 4], seed, num_texts=20))
    plain = attribute(Agreements(suspect, CONTROLS, BETWEEN), TEACHERS, level=0.05)
    turned = attribute(
        Agreements(suspect[:, order], CONTROLS[:, :, order], BETWEEN[order][:, :, order]),
        [TEACHERS[j] for j in order],
        level=0.05,
    )
    assert turned.teacher == plain.teacher
    assert [one.p_adjusted for one in turned.findings] == pytest.approx(
        [plain.findings[j].p_adjusted for j in order]
    )


def test_too_few_teachers_controls_or_texts_are_refused() -> None:
    suspect = overlaps(LAWS[0])
    with pytest.raises(ConfigError, match="1 teacher"):
        attribute(
            Agreements(suspect[:, :1], CONTROLS[:, :, :1], BETWEEN[:1, :, :1]), ["ash"], level=0.01
        )
    with pytest.raises(ConfigError, match="2 controls"):
        attribute(Agreements(suspect, CONTROLS[:2], BETWEEN), TEACHERS, level=0.01)
    with pytest.raises(ConfigError, match="10 texts"):
        attribute(Agreements(suspect[:10], CONTROLS[:, :10], BETWEEN[:, :10]), TEACHERS, level=0.01)


def test_controls_that_are_one_model_are_refused() -> None:
    same = np.stack([CONTROLS[0]] * 4)
    with pytest.raises(DataError, match="one model"):
        attribute(Agreements(overlaps(LAWS[0]), same, BETWEEN), TEACHERS, level=0.01)


def test_agreements_of_other_shapes_or_none_at_all_are_refused() -> None:
    with pytest.raises(ShapeError, match="do not belong together"):
        Agreements(overlaps(LAWS[0]), CONTROLS[:, :5], BETWEEN)
    broken = overlaps(LAWS[0])
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        Agreements(broken, CONTROLS, BETWEEN)


def test_laws_of_the_toy_are_distributions() -> None:
    assert HUMAN.shape == (SIZE, SIZE)
    assert np.allclose(np.sum(LAWS, axis=2), 1)
