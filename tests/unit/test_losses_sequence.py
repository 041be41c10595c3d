"""Objectives of whole chunks and completions, against autograd on whole logits."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loss_cases import by_definition, logits, relative_error, target_of
from torch import Tensor

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.losses import (
    ChunkLikelihood,
    DenseTarget,
    Distillm2,
    Head,
    HeadForm,
    Objective,
    Part,
    Preference,
    Samples,
    Segments,
    TopKTarget,
    head_loss_and_grad,
    loss_and_grad_in_parts,
    sequence_loss_and_grad,
)

torch.set_num_threads(1)

N, V, D, S = 30, 37, 8, 4
# Segments need not be in order or contiguous, and some positions belong to none.
SEGMENT_N = torch.tensor([0] * 7 + [-1] * 3 + [2] * 9 + [1] * 1 + [3] * 6 + [0] * 4)
IDS_N = torch.randint(0, V, (N,), generator=torch.Generator().manual_seed(1))
TEXT = Segments(IDS_N, SEGMENT_N, S)
TEACHER_S = torch.tensor([-9.0, -1.5, -20.0, -0.3]).double()
CHOSEN, REJECTED = torch.tensor([0, 1, 0]), torch.tensor([2, 3, 3])


def student(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return logits(N, D, seed=3, scale=1.0).to(dtype), logits(V, D, seed=4, scale=1.0).to(dtype)


def sums(logprob_N: Tensor) -> Tensor:
    return torch.stack([logprob_N[segment == SEGMENT_N].sum() for segment in range(S)])


def chunks_by_hand(sums_S: Tensor, lengths_S: Tensor) -> Tensor:
    a, b = (TEACHER_S / 100).exp(), (sums_S / 100).exp()
    return -(a * b.log() + (1 - a) * (1 - b).log())


def preference_by_hand(sums_S: Tensor, lengths_S: Tensor) -> Tensor:
    gain = sums_S - TEACHER_S
    return torch.log1p(torch.exp(-0.1 * (gain[CHOSEN] - gain[REJECTED])))


def normalised_preference_by_hand(sums_S: Tensor, lengths_S: Tensor) -> Tensor:
    gain = (sums_S - TEACHER_S) / lengths_S
    return torch.log1p(torch.exp(-2.0 * (gain[CHOSEN] - gain[REJECTED])))


RULES: list[tuple[Any, Callable[..., Tensor]]] = [
    (lambda dtype: ChunkLikelihood(TEACHER_S.to(dtype)), chunks_by_hand),
    (lambda dtype: Preference(TEACHER_S.to(dtype), CHOSEN, REJECTED), preference_by_hand),
    (
        lambda dtype: Preference(
            TEACHER_S.to(dtype), CHOSEN, REJECTED, strength=2.0, is_length_normalized=True
        ),
        normalised_preference_by_hand,
    ),
]


@pytest.mark.parametrize("form", [HeadForm(), HeadForm(scale=0.5, softcap=3.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rule", "by_hand"), RULES)
def test_values_and_gradients_are_those_of_the_definition(
    rule: Any, by_hand: Callable[..., Tensor], dtype: torch.dtype, form: HeadForm
) -> None:
    hidden, weight = student(dtype)
    wide_hidden, wide_weight = (one.double().requires_grad_() for one in (hidden, weight))
    raw = wide_hidden @ wide_weight.T * form.scale
    formed = raw if form.softcap is None else form.softcap * torch.tanh(raw / form.softcap)
    logprob_N = torch.log_softmax(formed, 1).gather(1, IDS_N.unsqueeze(1)).squeeze(1)
    wanted = by_hand(sums(logprob_N), torch.bincount(SEGMENT_N[SEGMENT_N >= 0]))
    weight_L = torch.arange(1, len(wanted) + 1).double() / 7
    (weight_L * wanted).sum().backward()

    grad = torch.zeros_like(weight)
    loss, hidden_grad = sequence_loss_and_grad(
        hidden, Head(weight, grad, form), TEXT, rule(dtype), weight_L=weight_L.to(dtype)
    )
    is_wide = dtype == torch.float64
    assert relative_error(loss, wanted) < (1e-12 if is_wide else 1e-6)
    assert relative_error(hidden_grad, wide_hidden.grad) < (1e-12 if is_wide else 1e-5)
    assert relative_error(grad, wide_weight.grad) < (1e-12 if is_wide else 1e-5)
    assert hidden_grad[SEGMENT_N < 0].abs().max() == 0


def test_chunks_that_are_as_likely_under_both_teach_nothing() -> None:
    hidden, weight = student()
    logprob_N = torch.log_softmax(hidden @ weight.T, 1).gather(1, IDS_N.unsqueeze(1)).squeeze(1)
    rule = ChunkLikelihood(sums(logprob_N))
    _, grad = sequence_loss_and_grad(
        hidden, Head(weight), TEXT, rule, weight_L=torch.ones(S).double()
    )
    assert grad.abs().max() < 1e-15


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_chunk_that_the_student_is_sure_of_has_a_finite_loss(dtype: torch.dtype) -> None:
    hidden = torch.full((2, 1), 200.0, dtype=dtype)
    weight = torch.tensor([[1.0], [-1.0]], dtype=dtype)
    text = Segments(torch.tensor([0, 0]), torch.tensor([0, 0]), 1)
    rule = ChunkLikelihood(torch.tensor([-50.0], dtype=dtype))
    loss, grad = sequence_loss_and_grad(
        hidden, Head(weight), text, rule, weight_L=torch.ones(1, dtype=dtype)
    )
    assert torch.isfinite(loss).all()
    assert loss.item() > 1
    assert torch.isfinite(grad).all()


def test_preference_pulls_teacher_text_up_and_student_text_down() -> None:
    hidden, weight = student()
    rule = Preference(torch.zeros(S).double(), torch.tensor([0]), torch.tensor([2]))
    _, grad = sequence_loss_and_grad(
        hidden, Head(weight), TEXT, rule, weight_L=torch.ones(1).double()
    )
    moved = torch.log_softmax((hidden - 0.1 * grad) @ weight.T, 1)
    still = torch.log_softmax(hidden @ weight.T, 1)
    gain_S = sums((moved - still).gather(1, IDS_N.unsqueeze(1)).squeeze(1))
    assert gain_S[0] > 0 > gain_S[2]
    assert gain_S[1] == gain_S[3] == 0


def test_segments_that_do_not_fit_are_named() -> None:
    hidden, weight = student()
    rule = ChunkLikelihood(TEACHER_S)
    for segments, message in (
        (Segments(IDS_N, SEGMENT_N, 5), "segment 4 has no position"),
        (Segments(IDS_N, SEGMENT_N, 3), "from -1 to 2"),
        (Segments(IDS_N, SEGMENT_N[:-1], S), "30 ids and 29 segment numbers"),
    ):
        with pytest.raises(ShapeError, match=message):
            sequence_loss_and_grad(hidden, Head(weight), segments, rule, weight_L=torch.ones(S))
    with pytest.raises(ShapeError, match="one weight per loss"):
        sequence_loss_and_grad(hidden, Head(weight), TEXT, rule, weight_L=torch.ones(S - 1))
    with pytest.raises(ConfigError, match="tau=0"):
        ChunkLikelihood(TEACHER_S, tau=0)
    with pytest.raises(ConfigError, match="strength=-1"):
        Preference(TEACHER_S, CHOSEN, REJECTED, strength=-1)


LENGTHS = (12, 1, 17)
SAMPLES = Samples(IDS_N, LENGTHS, (-1.0, -2.0, -3.0), (True, False, False))


def test_the_skew_of_a_sample_follows_its_gap_and_stays_in_its_limits() -> None:
    settings = Distillm2(base_skew=0.1)
    assert settings.skew(0.3, 0.3) == pytest.approx(0.1)
    # 1 - 0.9 * 0.3 / 0.28
    assert settings.skew(0.28, 0.3) == pytest.approx(1 - 0.9 * 0.3 / 0.28)
    assert settings.skew(0.1, 0.3) == 0.01
    assert settings.skew(0.9, 0.3) == 0.1
    assert settings.skew(-0.2, 0.3) == 0.1
    assert settings.skew(0.0, 0.3) == 0.1


def test_gaps_are_taken_from_the_side_of_who_wrote() -> None:
    hidden, weight = student()
    logprob_N = torch.log_softmax(hidden @ weight.T, 1).gather(1, IDS_N.unsqueeze(1)).squeeze(1)
    q = [part.mean().exp().item() for part in logprob_N.split(LENGTHS)]
    p = [math.exp(one) for one in (-1.0, -2.0, -3.0)]
    wanted = [p[0] - q[0], q[1] - p[1], q[2] - p[2]]
    assert SAMPLES.gaps(hidden, Head(weight)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("kind", [TopKTarget, DenseTarget])
def test_contrastive_distillation_is_its_definition(kind: type) -> None:
    target = target_of(kind, logits(N, V, seed=5))
    hidden, weight = (one.requires_grad_() for one in student())
    settings = Distillm2(student_text_weight=1.4, base_skew=0.1)
    parts = settings.parts(SAMPLES, [0.3, 0.29, -1.0], (0.29, 0.3))
    skews = [1 - 0.9 * 0.29 / 0.3, 0.01, 0.1]
    skews[0] = min(skews[0], 0.1)
    skews[1] = max(1 - 0.9 * 0.3 / 0.29, 0.01)
    whole, start, wanted = hidden @ weight.T, 0, []
    for length, skew, is_teachers in zip(LENGTHS, skews, (True, False, False), strict=True):
        rows = slice(start, start + length)
        name, factor = ("skew_kl", 0.6) if is_teachers else ("skew_reverse_kl", 1.4)
        loss = by_definition(name, whole[rows], target.rows(rows.start, rows.stop), skew=skew)
        wanted.append(factor * loss)
        start = rows.stop
    (torch.cat(wanted) / N).sum().backward()
    grad = torch.zeros_like(weight)
    found, hidden_grad = loss_and_grad_in_parts(
        hidden,
        Head(weight.detach(), grad),
        target,
        parts,
        weight_N=torch.full((N,), 1 / N, dtype=torch.float64),
    )
    assert relative_error(found, torch.cat(wanted)) < 1e-12
    assert relative_error(hidden_grad, hidden.grad) < 1e-12
    assert relative_error(grad, weight.grad) < 1e-12


def test_parts_with_one_objective_are_the_whole() -> None:
    target = target_of(TopKTarget, logits(N, V, seed=5))
    hidden, weight = student()
    objective = Objective("forward_kl")
    weight_N = torch.full((N,), 1 / N, dtype=torch.float64)
    whole = head_loss_and_grad(hidden, Head(weight), target, objective, weight_N=weight_N)
    parts = [Part(length, objective) for length in LENGTHS]
    found = loss_and_grad_in_parts(hidden, Head(weight), target, parts, weight_N=weight_N)
    assert all(torch.allclose(one, other) for one, other in zip(found, whole, strict=True))
    with pytest.raises(ShapeError, match="lengths must sum"):
        loss_and_grad_in_parts(hidden, Head(weight), target, parts[:2], weight_N=weight_N)


def test_settings_and_samples_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match=r"student_text_weight=2\.5"):
        Distillm2(student_text_weight=2.5)
    with pytest.raises(ConfigError, match=r"base_skew=1\.0"):
        Distillm2(base_skew=1.0)
    for lengths in ((12, 1, 16), (13, 0, 17)):
        with pytest.raises(ShapeError, match="lengths sum to N"):
            Samples(IDS_N, lengths, (-1.0, -2.0, -3.0), (True, False, False))
