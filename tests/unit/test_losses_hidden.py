"""Hidden states matched through a trained map."""

import pytest
import torch
from loss_cases import logits, relative_error

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.losses import HIDDEN_DISTANCES, hidden_state_loss

torch.set_num_threads(1)

N, D, E = 7, 5, 9


def test_distances_by_hand() -> None:
    student = torch.tensor([[1.0, 2.0]])
    teacher, mapping = torch.tensor([[1.0, 0.0, 3.0]]), torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    # Mapped to (1, 2, 3): squares 0, 4, 0; cosine 10 / sqrt(14 * 10).
    assert hidden_state_loss(student, teacher, mapping).item() == pytest.approx(4 / 3)
    cosine = hidden_state_loss(student, teacher, mapping, "cosine").item()
    assert cosine == pytest.approx(1 - 10 / 140**0.5)


@pytest.mark.parametrize("distance", HIDDEN_DISTANCES)
def test_student_and_map_learn_and_the_teacher_does_not(distance: str) -> None:
    student, mapping = (logits(*s, seed=1).requires_grad_() for s in ((N, D), (E, D)))
    teacher = logits(N, E, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s, m: hidden_state_loss(s, teacher, m, distance), (student, mapping)
    )
    hidden_state_loss(student, teacher, mapping, distance).sum().backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert mapping.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", HIDDEN_DISTANCES)
def test_a_perfect_map_leaves_nothing_to_learn(distance: str, dtype: torch.dtype) -> None:
    student, mapping = logits(N, D, seed=1).to(dtype), logits(E, D, seed=2).to(dtype)
    loss = hidden_state_loss(student, student @ mapping.T, mapping, distance)
    assert loss.abs().max() < 1e-6
    assert (hidden_state_loss(student, logits(N, E, seed=3).to(dtype), mapping) > 0.1).all()


def test_the_cosine_does_not_see_lengths() -> None:
    student, teacher, mapping = logits(N, D, seed=1), logits(N, E, seed=2), logits(E, D, seed=3)
    wanted = hidden_state_loss(student, teacher, mapping, "cosine")
    assert (
        relative_error(hidden_state_loss(3 * student, teacher, mapping, "cosine"), wanted) < 1e-12
    )
    assert relative_error(hidden_state_loss(3 * student, teacher, mapping), wanted) > 0.1


def test_what_does_not_fit_is_named() -> None:
    student, teacher, mapping = logits(N, D, seed=1), logits(N, E, seed=2), logits(E, D, seed=3)
    with pytest.raises(ConfigError, match="distance 'euclid'; give one of mean_square, cosine"):
        hidden_state_loss(student, teacher, mapping, "euclid")
    for wrong in ((student[:3], teacher, mapping), (student, teacher, mapping.T)):
        with pytest.raises(ShapeError, match=r"map of shape \(9, 5\)"):
            hidden_state_loss(*wrong)
    with pytest.raises(ShapeError, match="no positions"):
        hidden_state_loss(student[:0], teacher[:0], mapping)
