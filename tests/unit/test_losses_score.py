"""Scores of one head against another, from the definitions."""

import pytest
import torch
from loss_cases import cross_entropy_by_hand, forward_kl_by_hand, logits, relative_error

from stillhouse.errors import ShapeError
from stillhouse.losses import TILE_TOKENS, score_against_head

V = 31


def models(num_tokens: int) -> tuple[torch.Tensor, ...]:
    """Two models of different width on the same positions, with the tokens that came next."""
    ids = torch.randint(0, V, (num_tokens,), generator=torch.Generator().manual_seed(1))
    return (
        logits(num_tokens, 8, seed=2, scale=1.0),
        logits(V, 8, seed=3, scale=1.0),
        logits(num_tokens, 12, seed=4, scale=1.0),
        logits(V, 12, seed=5, scale=1.0),
        ids,
    )


@pytest.mark.parametrize("num_tokens", [1, TILE_TOKENS, TILE_TOKENS + 1])
def test_scores_are_those_of_the_definitions(num_tokens: int) -> None:
    hidden, head, teacher_hidden, teacher_head, ids = models(num_tokens)
    scores = score_against_head(hidden, head, teacher_hidden, teacher_head, ids)
    student, teacher = hidden @ head.T, teacher_hidden @ teacher_head.T
    assert relative_error(scores.forward_kl_N, forward_kl_by_hand(student, teacher)) < 1e-12
    assert relative_error(scores.student_logprob_N, -cross_entropy_by_hand(student, ids)) < 1e-12
    assert relative_error(scores.teacher_logprob_N, -cross_entropy_by_hand(teacher, ids)) < 1e-12
    assert torch.equal(scores.is_top1_N, student.argmax(1) == teacher.argmax(1))


def test_a_model_agrees_with_itself() -> None:
    _, _, hidden, head, ids = models(50)
    scores = score_against_head(hidden, head, hidden, head, ids)
    assert scores.forward_kl_N.abs().max() < 1e-14
    assert scores.is_top1_N.all()
    assert torch.equal(scores.student_logprob_N, scores.teacher_logprob_N)


def test_direction_is_teacher_to_student() -> None:
    hidden, head, teacher_hidden, teacher_head, ids = models(50)
    there = score_against_head(hidden, head, teacher_hidden, teacher_head, ids).forward_kl_N
    back = score_against_head(teacher_hidden, teacher_head, hidden, head, ids).forward_kl_N
    assert ((there - back).abs() > 1e-6).all()


def test_no_gradient_is_recorded() -> None:
    hidden, head, teacher_hidden, teacher_head, ids = models(3)
    scores = score_against_head(hidden.requires_grad_(), head, teacher_hidden, teacher_head, ids)
    assert not scores.forward_kl_N.requires_grad


def test_positions_and_vocabularies_must_agree() -> None:
    hidden, head, teacher_hidden, teacher_head, ids = models(4)
    for wrong in (
        (hidden[:3], head, teacher_hidden, teacher_head, ids),
        (hidden, head, teacher_hidden[:3], teacher_head, ids),
        (hidden, head, teacher_hidden, teacher_head, ids[:3]),
        (hidden, head[:30], teacher_hidden, teacher_head, ids),
    ):
        with pytest.raises(ShapeError, match="must agree in positions"):
            score_against_head(*wrong)
    with pytest.raises(ShapeError, match="no positions"):
        score_against_head(hidden[:0], head, teacher_hidden[:0], teacher_head, ids[:0])
