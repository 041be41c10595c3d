"""Every objective, with every kind of target, against its definition in float64."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from loss_cases import (
    DIVERGENCES,
    SETTINGS,
    TOKEN_RULES,
    by_definition,
    cast,
    logits,
    outcomes,
    relative_error,
    target_of,
)
from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.losses import (
    OBJECTIVES,
    DenseTarget,
    Head,
    HiddenTarget,
    MixtureTarget,
    Objective,
    ProjectedTarget,
    SampledTarget,
    ScoredTarget,
    TokenTarget,
    TopKTarget,
    head_loss_and_grad,
    loss_of_logits,
)

N, V, D, K = 29, 37, 8, 5

torch.set_num_threads(1)

CASES = [
    pytest.param(name, numbers, kind, id=f"{name}-{kind.__name__}-{index}")
    for name, spec in OBJECTIVES.items()
    for kind in spec.targets
    for index, numbers in enumerate(SETTINGS.get(name, [{}]))
]
WHOLE = (DenseTarget, HiddenTarget, MixtureTarget)


def student(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Hidden states (N, D) and a head (V, D)."""
    return logits(N, D, seed=3, scale=1.0).to(dtype), logits(V, D, seed=4, scale=1.0).to(dtype)


def weights(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(N, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)


def test_no_objective_is_without_a_definition_to_be_tested_against() -> None:
    assert set(OBJECTIVES) == set(DIVERGENCES) | set(TOKEN_RULES)
    assert set(SETTINGS) <= set(OBJECTIVES)
    for name, spec in OBJECTIVES.items():
        numbers = set(spec.parameters) - {"loss_temperature"}
        assert numbers == {key for setting in SETTINGS.get(name, []) for key in setting}


def test_the_page_of_objectives_has_each_with_its_parameters_and_source() -> None:
    page = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name, spec in OBJECTIVES.items():
        about = [row for row in rows if f"`{name}`" in row.split(" | ")[0]]
        assert len(about) == 2, name  # what it is, and where it comes from
        assert spec.source.partition(",")[0] in about[1]
        for key in spec.parameters.keys() - {"loss_temperature"}:
            assert f"`{key}`" in about[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "numbers", "kind"), CASES)
def test_values_and_gradients_are_those_of_the_definition(
    name: str, numbers: dict[str, float], kind: type, dtype: torch.dtype
) -> None:
    target = cast(target_of(kind, logits(N, V, seed=1)), dtype)
    hidden, head = student(dtype)
    wide_hidden, wide_head = hidden.double().requires_grad_(), head.double().requires_grad_()
    wide_target = cast(target, torch.float64)
    wanted = by_definition(name, wide_hidden @ wide_head.T, wide_target, **numbers)
    (weights() * wanted).sum().backward()

    grad = torch.zeros_like(head)
    objective = Objective(name, **numbers)
    loss, hidden_grad = head_loss_and_grad(
        hidden, Head(head, grad), target, objective, weight_N=weights(dtype)
    )
    is_wide = dtype == torch.float64
    assert relative_error(loss, wanted) < (1e-12 if is_wide else 1e-6)
    assert relative_error(hidden_grad, wide_hidden.grad) < (1e-12 if is_wide else 1e-5)
    assert relative_error(grad, wide_head.grad) < (1e-12 if is_wide else 1e-5)


@pytest.mark.parametrize("loss_temperature", [0.5, 3.0])
@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_loss_temperature_divides_both_logits_and_scales_nothing(
    name: str, kind: type, loss_temperature: float
) -> None:
    numbers = {**SETTINGS.get(name, [{}])[0], "loss_temperature": loss_temperature}
    target = target_of(kind, logits(N, V, seed=1))
    student_NV = logits(N, V, seed=2).requires_grad_()
    wanted = by_definition(name, student_NV, target, **numbers)
    (wanted_grad,) = torch.autograd.grad(wanted.sum(), student_NV)
    found = loss_of_logits(student_NV, target, Objective(name, **numbers))
    (grad,) = torch.autograd.grad(found.sum(), student_NV)
    assert relative_error(found, wanted) < 1e-12
    assert relative_error(grad, wanted_grad) < 1e-12


@pytest.mark.parametrize(("name", "numbers", "kind"), CASES)
def test_tiles_of_any_size_and_parts_of_a_batch_add_up_to_the_same(
    name: str, numbers: dict[str, float], kind: type
) -> None:
    target = target_of(kind, logits(N, V, seed=1))
    hidden, head = student()
    results = []
    for tile, cuts in ((N, [0, N]), (1, [0, N]), (7, [0, N]), (100, [0, 10, N])):
        grad, losses, hidden_grads = torch.zeros_like(head), [], []
        for start, stop in itertools.pairwise(cuts):
            # The same weights: each is 1 / number of tokens of the whole batch.
            loss, hidden_grad = head_loss_and_grad(
                hidden[start:stop],
                Head(head, grad),
                target.rows(start, stop),
                Objective(name, **numbers),
                weight_N=torch.full((stop - start,), 1 / N, dtype=torch.float64),
                tile_tokens=tile,
            )
            losses.append(loss)
            hidden_grads.append(hidden_grad)
        results.append((torch.cat(losses), torch.cat(hidden_grads), grad))
    for other in results[1:]:
        for found, wanted in zip(other, results[0], strict=True):
            assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-14)


DIVERGENCE_CASES = [case for case in CASES if case.values[0] in DIVERGENCES]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "numbers", "kind"), DIVERGENCE_CASES)
def test_nothing_is_left_to_learn_where_student_and_teacher_agree(
    name: str, numbers: dict[str, float], kind: type, dtype: torch.dtype
) -> None:
    teacher = logits(N, V, seed=1).to(dtype)
    target = target_of(kind, teacher.double())
    if isinstance(target, ProjectedTarget):
        target = _what_a_projection_sees(target, teacher.double())
    student_NV = teacher.clone().requires_grad_()
    loss = loss_of_logits(student_NV, cast(target, dtype), Objective(name, **numbers))
    loss.sum().backward()
    # Total variation has a kink there: log-probabilities one rounding apart are not equal.
    tolerance = 1e-14 if dtype == torch.float64 else 2e-6
    assert loss.abs().max() < tolerance * 10
    if name != "total_variation" and name != "sorted_l1":
        assert student_NV.grad.abs().max() < tolerance
    elif kind in (DenseTarget, HiddenTarget):  # a mixture's probabilities are rounded once more
        assert student_NV.grad.abs().max() == 0
    moved = loss_of_logits(teacher * 2, cast(target, dtype), Objective(name, **numbers))
    assert (moved > 1e-5).all()


def _what_a_projection_sees(target: ProjectedTarget, teacher_NV: Tensor) -> ProjectedTarget:
    """The target whose teacher is the projected student itself."""
    log_q = outcomes(teacher_NV, target)[1].log()
    return ProjectedTarget(log_q[:, :-1], log_q[:, -1], target.student_ids_NKJ, target.weights_NKJ)


# Costs and shares are constants for these gradients, and not for finite differences.
DETACHED = {"policy_gradient_truncated", "policy_gradient_gated", "adaptive_kl"}
SMOOTH = [case for case in CASES if case.values[0] not in DETACHED]


@pytest.mark.parametrize(("name", "numbers", "kind"), SMOOTH)
def test_gradcheck(name: str, numbers: dict[str, float], kind: type) -> None:
    target = target_of(kind, logits(4, 11, seed=1), k=3)
    student_NV = logits(4, 11, seed=2).requires_grad_()
    objective = Objective(name, **numbers)
    assert torch.autograd.gradcheck(lambda s: loss_of_logits(s, target, objective), student_NV)


SHARP = [
    pytest.param(name, SETTINGS.get(name, [{}])[0], kind, id=f"{name}-{kind.__name__}")
    for name in DIVERGENCES
    for kind in OBJECTIVES[name].targets
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "numbers", "kind"), SHARP)
def test_tails_of_a_millionth_of_a_billionth_of_a_billionth_keep_their_digits(
    name: str, numbers: dict[str, float], kind: type, dtype: torch.dtype
) -> None:
    teacher = logits(N, V, seed=1, scale=14.0).to(dtype).double()
    student_NV = logits(N, V, seed=6, scale=14.0).to(dtype)
    assert torch.softmax(teacher, 1).min() < 1e-30
    target = cast(target_of(kind, teacher), dtype)
    wide = student_NV.double().requires_grad_()
    wanted = by_definition(name, wide, cast(target, torch.float64), **numbers)
    wanted.sum().backward()
    leaf = student_NV.requires_grad_()
    found = loss_of_logits(leaf, target, Objective(name, **numbers))
    found.sum().backward()
    is_wide = dtype == torch.float64
    assert relative_error(found, wanted) < (1e-12 if is_wide else 1e-6)
    # A logit of 40 is itself known to 2e-6 only.
    assert relative_error(leaf.grad, wide.grad) < (1e-11 if is_wide else 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "numbers", "kind"), CASES)
def test_extreme_logits_give_finite_losses_and_gradients(
    name: str, numbers: dict[str, float], kind: type, dtype: torch.dtype
) -> None:
    teacher = logits(N, V, seed=1).sign() * 80
    student_NV = (logits(N, V, seed=2).sign() * 80).to(dtype).requires_grad_()
    target = cast(target_of(kind, teacher), dtype)
    loss = loss_of_logits(student_NV, target, Objective(name, **numbers))
    loss.sum().backward()
    # k3's p / q is e^160 here, beyond float32: what a step refuses, and why k3 is a poor loss.
    if name != "k3_forward_kl_gradient" or dtype == torch.float64:
        assert torch.isfinite(student_NV.grad).all()
        assert torch.isfinite(loss).all()
    if name in DIVERGENCES:
        assert loss.min() > -1e-5


@pytest.mark.parametrize(("name", "numbers", "kind"), CASES)
def test_one_position_is_enough(name: str, numbers: dict[str, float], kind: type) -> None:
    target = target_of(kind, logits(N, V, seed=1))
    student_NV = logits(N, V, seed=2)
    objective = Objective(name, **numbers)
    whole = loss_of_logits(student_NV, target, objective)
    alone = loss_of_logits(student_NV[3:4], target.rows(3, 4), objective)
    assert torch.allclose(alone, whole[3:4], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", [n for n in DIVERGENCES if n != "sorted_l1"])
def test_the_whole_vocabulary_as_top_k_is_the_dense_divergence(name: str) -> None:
    teacher, student_NV = logits(N, V, seed=1), logits(N, V, seed=2)
    top: Any = target_of(TopKTarget, teacher, k=V)
    # A tail of rounding, as 1 - sum(top) leaves one, is not read.
    top = TopKTarget(top.ids_NK, top.logprobs_NK, torch.full((N,), -15.0).double())
    results = []
    for target in (top, DenseTarget(teacher)):
        leaf = student_NV.clone().requires_grad_()
        loss = loss_of_logits(leaf, target, Objective(name))
        loss.sum().backward()
        results.append((loss, leaf.grad))
    for found, wanted in zip(*results, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("k", [3, V])
@pytest.mark.parametrize("name", [n for n in DIVERGENCES if n != "sorted_l1"])
def test_a_row_of_fewer_ids_is_filled_without_a_trace(name: str, k: int) -> None:
    teacher, student_NV = logits(N, V, seed=1), logits(N, V, seed=2)
    few: Any = target_of(TopKTarget, teacher, k=3)
    repeats = (N, k - 3 + 2 if k < V else V - 3)
    filled = TopKTarget(
        torch.cat([few.ids_NK, few.ids_NK[:, :1].expand(repeats)], 1),
        torch.cat([few.logprobs_NK, torch.full(repeats, -1.0).double()], 1),
        few.tail_logprob_N,
    )
    results = []
    for target in (filled, few):
        leaf = student_NV.clone().requires_grad_()
        loss = loss_of_logits(leaf, target, Objective(name))
        loss.sum().backward()
        results.append((loss, leaf.grad))
    for found, wanted in zip(*results, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_one_student_id_for_each_teacher_id_is_the_top_k_form() -> None:
    student_NV = logits(N, V, seed=2)
    top: Any = target_of(TopKTarget, logits(N, V, seed=1))
    one = top.ids_NK.unsqueeze(2)
    same = ProjectedTarget(
        top.logprobs_NK, top.tail_logprob_N, one, torch.ones_like(one, dtype=torch.float64)
    )
    for name in DIVERGENCES.keys() - {"sorted_l1"}:
        found, wanted = (loss_of_logits(student_NV, t, Objective(name)) for t in (same, top))
        assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-13)


def test_a_projection_that_claims_every_id_has_no_tail() -> None:
    ids_NKJ = torch.arange(6).view(1, 2, 3)
    target = ProjectedTarget(
        torch.tensor([[0.25, 0.75]]).log(),
        torch.tensor([-16.0]),
        ids_NKJ,
        torch.ones(1, 2, 3),
    )
    student_1V = torch.tensor([[1.0, 2.0, 0.0, 0.5, 0.5, -1.0]])
    for name in ("forward_kl", "reverse_kl", "generalized_jsd"):
        leaf = student_1V.clone().requires_grad_()
        loss = loss_of_logits(leaf, target, Objective(name))
        loss.sum().backward()
        q = torch.softmax(student_1V, 1).view(2, 3).sum(1).unsqueeze(0).double()
        wanted = DIVERGENCES[name](
            torch.tensor([[0.25, 0.75]]).double(), q, *[0.5][: "jsd" in name]
        )
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
        assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("k1", {}, "objective 'k1'; give one of sft"),
        ("forward_kl", {"temperature": 2.0}, "no parameter 'temperature'; it has loss_temperature"),
        ("sft", {"loss_temperature": 2.0}, "no parameter 'loss_temperature'; it has none"),
        ("forward_kl", {"loss_temperature": 0.0}, r"loss_temperature=0.0; give a number in \(0"),
        ("generalized_jsd", {"teacher_weight": 1.0}, r"give a number in \(0, 1\)"),
        ("normalized_jsd", {"teacher_weight": 1.1}, r"give a number in \[0, 1\]"),
        ("skew_kl", {"skew": float("nan")}, "skew=nan"),
        ("skew_kl", {"skew": True}, "skew=True"),
        ("policy_gradient_gated", {"max_ratio": float("inf")}, "max_ratio=inf"),
    ],
)
def test_what_an_objective_does_not_know_is_refused(
    name: str, numbers: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Objective(name, **numbers)


def test_a_target_that_cannot_teach_an_objective_is_refused() -> None:
    student_NV = logits(N, V, seed=2)
    kinds = (TokenTarget, ScoredTarget, SampledTarget, TopKTarget, ProjectedTarget, *WHOLE)
    for name, spec in OBJECTIVES.items():
        for kind in set(kinds) - set(spec.targets):
            with pytest.raises(ConfigError, match=f"{name} cannot learn from a {kind.__name__}"):
                loss_of_logits(student_NV, target_of(kind, student_NV), Objective(name))


@pytest.mark.parametrize("kind", [TopKTarget, ProjectedTarget])
def test_a_signal_stored_at_temperature_1_cannot_be_retempered(kind: type) -> None:
    student_NV = logits(N, V, seed=2)
    with pytest.raises(ConfigError, match="stored at temperature 1"):
        loss_of_logits(
            student_NV,
            target_of(kind, student_NV),
            Objective("forward_kl", loss_temperature=2.0),
        )


def test_k1_is_no_loss_under_any_name() -> None:
    """log(q / p) has the gradient onehot - q whatever the teacher says; no objective does."""
    student_NV = logits(N, V, seed=2)
    drawn: Any = target_of(ScoredTarget, logits(N, V, seed=1))
    other = ScoredTarget(drawn.ids_N, drawn.teacher_logprob_N - 0.1, drawn.behaviour_logprob_N)
    for name, spec in OBJECTIVES.items():
        if ScoredTarget in spec.targets:
            grads = []
            for target in (drawn, other):
                leaf = student_NV.clone().requires_grad_()
                loss_of_logits(leaf, target, Objective(name)).sum().backward()
                grads.append(leaf.grad)
            assert not torch.allclose(*grads)


def test_objectives_with_the_same_settings_are_equal() -> None:
    assert Objective("skew_kl") == Objective("skew_kl", skew=0.1)
    assert Objective("skew_kl") != Objective("skew_kl", skew=0.1000001)
    assert len({Objective("sft"), Objective("sft"), Objective("reverse_kl")}) == 2
    assert repr(Objective("skew_kl")) == "Objective('skew_kl', skew=0.1, loss_temperature=1)"
