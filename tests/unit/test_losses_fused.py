"""The tiled pass over the head: what it adds where, what it leaves alone, what memory it takes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loss_cases import by_definition, cast, hidden_target, logits, relative_error, target_of
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.losses import (
    OBJECTIVES,
    DenseTarget,
    Head,
    HeadForm,
    HiddenTarget,
    MixtureTarget,
    Objective,
    ProjectedTarget,
    SampledTarget,
    ScoredTarget,
    TokenTarget,
    TopKTarget,
    fused_head_loss,
    head_loss_and_grad,
    loss_of_logits,
    token_logprobs,
)

torch.set_num_threads(1)

N, V, D = 29, 37, 8
KINDS = {
    TokenTarget: "sft",
    ScoredTarget: "k2_reverse_kl_gradient",
    SampledTarget: "sampled_cross_entropy",
    TopKTarget: "forward_kl",
    DenseTarget: "reverse_kl",
    HiddenTarget: "generalized_jsd",
    MixtureTarget: "mixed_kl",
    ProjectedTarget: "skew_kl",
}
EACH_KIND = pytest.mark.parametrize(("kind", "name"), KINDS.items())
PAIRS = [
    pytest.param(kind, name, id=f"{name}-{kind.__name__}")
    for name, spec in OBJECTIVES.items()
    for kind in spec.targets
]


def student() -> tuple[Tensor, Tensor]:
    """Hidden states (N, D) and a head (V, D)."""
    return logits(N, D, seed=3, scale=1.0), logits(V, D, seed=4, scale=1.0)


def weights() -> Tensor:
    return torch.rand(N, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@EACH_KIND
def test_it_differentiates_inside_a_larger_expression(kind: type, name: str) -> None:
    target = target_of(kind, logits(N, V, seed=1))
    grads = []
    for is_fused in (True, False):
        hidden, head = (tensor.requires_grad_() for tensor in student())
        if is_fused:
            loss = fused_head_loss(hidden, head, target, Objective(name), weight_N=weights())
        else:
            numbers = dict(Objective(name).parameters)
            loss = (weights() * by_definition(name, hidden @ head.T, target, **numbers)).sum()
        (-3.0 * loss**2).backward()
        grads.append((hidden.grad, head.grad))
    for found, wanted in zip(*grads, strict=True):
        assert relative_error(found, wanted) < 1e-12


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    target = target_of(TokenTarget, logits(N, V, seed=1))
    hidden, head = (tensor.requires_grad_() for tensor in student())
    loss = fused_head_loss(hidden, head, target, Objective("sft"), weight_N=weights())
    (grad,) = torch.autograd.grad(loss**2, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@EACH_KIND
def test_a_frozen_head_gets_no_gradient_and_changes_none(kind: type, name: str) -> None:
    target = target_of(kind, logits(N, V, seed=1))
    hidden, weight = student()
    results = [
        head_loss_and_grad(hidden, head, target, Objective(name), weight_N=weights())
        for head in (Head(weight, torch.zeros_like(weight)), Head(weight))
    ]
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    leaf = hidden.clone().requires_grad_()
    fused_head_loss(leaf, weight, target, Objective(name), weight_N=weights()).backward()
    assert weight.grad is None
    assert torch.equal(leaf.grad, results[0][1])


def test_the_heads_gradient_is_added_to_what_is_there() -> None:
    target = target_of(TokenTarget, logits(N, V, seed=1))
    hidden, weight = student()
    fresh, used = torch.zeros_like(weight), torch.ones_like(weight)
    for grad in (fresh, used):
        head_loss_and_grad(hidden, Head(weight, grad), target, Objective("sft"), weight_N=weights())
    assert torch.allclose(used, fresh + 1)


@EACH_KIND
def test_inputs_are_left_alone(kind: type, name: str) -> None:
    target = target_of(kind, logits(N, V, seed=1))
    hidden, weight = student()
    inputs = [hidden, weight, *(one for one in vars(target).values() if isinstance(one, Tensor))]
    before = [tensor.clone() for tensor in inputs]
    head_loss_and_grad(hidden, Head(weight), target, Objective(name), weight_N=weights())
    loss_of_logits(logits(N, V, seed=2), target, Objective(name))
    assert all(torch.equal(one, other) for one, other in zip(before, inputs, strict=True))


FORMS = [HeadForm(scale=0.25), HeadForm(softcap=2.0), HeadForm(scale=0.5, softcap=3.0)]


@pytest.mark.parametrize("form", FORMS)
@EACH_KIND
def test_scale_and_softcap_of_a_head_are_part_of_the_gradient(
    kind: type, name: str, form: HeadForm
) -> None:
    target = target_of(kind, logits(N, V, seed=1))
    hidden, weight = (tensor.requires_grad_() for tensor in student())
    raw = hidden @ weight.T * form.scale
    formed = raw if form.softcap is None else form.softcap * torch.tanh(raw / form.softcap)
    wanted = by_definition(name, formed, target, **Objective(name).parameters)
    (weights() * wanted).sum().backward()
    grad = torch.zeros_like(weight)
    head = Head(weight.detach(), grad, form)
    loss, hidden_grad = head_loss_and_grad(
        hidden, head, target, Objective(name), weight_N=weights()
    )
    assert relative_error(loss, wanted) < 1e-12
    assert relative_error(hidden_grad, hidden.grad) < 1e-12
    assert relative_error(grad, weight.grad) < 1e-12


def test_a_teachers_head_has_a_form_too() -> None:
    teacher_hidden, teacher_weight = logits(N, 5, seed=6), logits(V, 5, seed=7)
    form = HeadForm(scale=0.5, softcap=4.0)
    dense = DenseTarget(4.0 * torch.tanh(teacher_hidden @ teacher_weight.T * 0.5 / 4.0))
    student_NV = logits(N, V, seed=2)
    found, wanted = (
        loss_of_logits(student_NV, target, Objective("forward_kl"))
        for target in (HiddenTarget(teacher_hidden, teacher_weight, form), dense)
    )
    assert torch.allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("numbers", [{"scale": 0.0}, {"softcap": -1.0}, {"scale": float("nan")}])
def test_a_head_form_that_is_none_is_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        HeadForm(**numbers)


def test_padding_ids_of_a_vocabulary_are_cut_on_both_sides() -> None:
    hidden, weight = student()
    teacher_hidden, teacher_weight = logits(N, 5, seed=6), logits(V + 6, 5, seed=7)
    shared = V - 3
    grad = torch.zeros_like(weight)
    loss, _ = head_loss_and_grad(
        hidden,
        Head(weight, grad).cut(shared),
        HiddenTarget(teacher_hidden, teacher_weight).cut(shared),
        Objective("forward_kl"),
        weight_N=weights(),
    )
    wanted = by_definition(
        "forward_kl",
        hidden @ weight[:shared].T,
        DenseTarget(teacher_hidden @ teacher_weight[:shared].T),
    )
    assert torch.allclose(loss, wanted)
    assert grad[:shared].abs().min() > 0
    assert torch.equal(grad[shared:], torch.zeros(3, D).double())
    with pytest.raises(ShapeError, match=f"a head of {V} ids cannot be cut to {V + 1}"):
        Head(weight).cut(V + 1)


def test_token_logprobs_are_those_of_the_softmax() -> None:
    hidden, weight = logits(300, D, seed=3), student()[1]
    ids = torch.randint(0, V, (300,), generator=torch.Generator().manual_seed(1))
    found = token_logprobs(hidden, Head(weight, form=HeadForm(softcap=2.0)), ids)
    wanted = torch.log_softmax(2 * torch.tanh(hidden @ weight.T / 2), 1)
    assert torch.allclose(found, wanted.gather(1, ids.unsqueeze(1)).squeeze(1), rtol=1e-12)


def test_no_positions_are_an_error() -> None:
    hidden, weight = student()
    target = target_of(TokenTarget, logits(N, V, seed=1)).rows(0, 0)
    with pytest.raises(ShapeError, match="no positions"):
        head_loss_and_grad(
            hidden[:0], Head(weight), target, Objective("sft"), weight_N=torch.ones(0)
        )


def test_targets_and_weights_must_have_one_row_per_position() -> None:
    hidden, weight = student()
    target = target_of(TopKTarget, logits(N, V, seed=1))
    for wrong_target, wrong_weights in (
        (target.rows(0, N - 1), torch.ones(N)),
        (target, torch.ones(N - 1)),
        (target, torch.ones(N, 1)),
    ):
        with pytest.raises(ShapeError, match=f"{N} hidden states"):
            head_loss_and_grad(
                hidden,
                Head(weight),
                wrong_target,
                Objective("forward_kl"),
                weight_N=wrong_weights,
            )


def wrong_targets() -> list[tuple[Callable[[], Any], str]]:
    one, top = torch.zeros(N), torch.zeros(N, 3)
    ids = torch.zeros(N, 3, dtype=torch.long)
    unmapped = ProjectedTarget(
        top, one, torch.zeros(N, 3, 2, dtype=torch.long), torch.zeros(N, 3, 2)
    )
    return [
        (lambda: TopKTarget(ids, top[:3], one), "TopKTarget with rows .*'logprobs_NK': 3"),
        (lambda: TopKTarget(ids + V, top, one), f"target ids from {V} to {V}, but the student"),
        (lambda: TopKTarget(ids - 1, top, one), "target ids from -1"),
        (lambda: unmapped, "no student id; add it to the tail"),
    ]


@pytest.mark.parametrize(("make", "message"), wrong_targets())
def test_targets_that_do_not_fit_are_named(make: Callable[[], Any], message: str) -> None:
    hidden, weight = student()
    with pytest.raises(ShapeError, match=message):
        head_loss_and_grad(
            hidden, Head(weight), make(), Objective("forward_kl"), weight_N=torch.ones(N)
        )


def test_a_head_and_its_gradient_have_one_shape() -> None:
    with pytest.raises(ShapeError, match="must be equal"):
        Head(torch.zeros(V, D), torch.zeros(V, D + 1))


class Allocations(TorchDispatchMode):
    """Elements of the largest new tensor; views and results written into given ones are none."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        known = {tensor.untyped_storage().data_ptr() for tensor in _tensors(args, kwargs)}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors((result,), None):
            if tensor.untyped_storage().data_ptr() not in known:
                self.largest = max(self.largest, tensor.numel())
        return result


def _tensors(args: Any, kwargs: Any) -> list[Tensor]:
    leaves, _ = torch.utils._pytree.tree_flatten((args, kwargs or {}))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_no_tensor_of_all_positions_and_the_whole_vocabulary_exists(kind: type, name: str) -> None:
    num_tokens, vocabulary, width, tile = 64, 4096, 16, 8
    hidden = logits(num_tokens, width, seed=1).float()
    weight = logits(vocabulary, width, seed=2).float()
    if kind in (HiddenTarget, MixtureTarget):
        target: Any = hidden_target(kind, hidden, weight)
    else:
        target = cast(target_of(kind, logits(num_tokens, vocabulary, seed=3), k=32), torch.float32)
    with Allocations() as seen:
        head_loss_and_grad(
            hidden,
            Head(weight, torch.zeros_like(weight)),
            target,
            Objective(name),
            weight_N=torch.ones(num_tokens),
            tile_tokens=tile,
        )
    # The logits buffer of one tile, and zeros_like(weight) above, are the largest.
    assert seen.largest == max(tile * vocabulary, vocabulary * width)
    with Allocations() as dense:
        torch.log_softmax(hidden @ weight.T, 1)
    assert dense.largest == num_tokens * vocabulary


MEMORY_LIMIT_MB = 64
VOCABULARY = 49_152

PEAKS = """
import ctypes, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
from loss_cases import cast, hidden_target, target_of
from stillhouse.losses import *
torch.set_num_threads(1)

def peak():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 1e3

def added(objective, target):
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    head_loss_and_grad(hidden, head, target, objective, weight_N=grad_N)
    return peak() - before

N, V, D = 200, {vocabulary}, 32
torch.manual_seed(0)
hidden, weight = torch.randn(N, D), torch.randn(V, D)
head = Head(weight, torch.full_like(weight, 1e-9))
grad_N, kinds = torch.full((N,), 1 / N), {{}}
for name, spec in OBJECTIVES.items():
    for kind in spec.targets:
        if kind is DenseTarget:
            continue
        if kind in (HiddenTarget, MixtureTarget):
            kinds[kind] = hidden_target(kind, hidden, weight)
        elif kind not in kinds:
            kinds[kind] = cast(target_of(kind, (hidden @ weight.T).double(), k=32), torch.float32)
        found = added(Objective(name), kinds[kind])
        if found > {limit}:  # pages that the machine took back before count when they return
            found = min(found, added(Objective(name), kinds[kind]))
        print(name, kind.__name__, found)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_head_and_loss_take_at_most_64_mb_more_at_49152_ids() -> None:
    code = PEAKS.format(
        here=str(Path(__file__).parent), vocabulary=VOCABULARY, limit=MEMORY_LIMIT_MB
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    lines = [line.split() for line in run.stdout.splitlines()]
    wanted = sum(len(set(spec.targets) - {DenseTarget}) for spec in OBJECTIVES.values())
    assert len(lines) == wanted
    peaks = {f"{name} {kind}": float(mb) for name, kind, mb in lines}
    assert max(peaks.values()) <= MEMORY_LIMIT_MB, peaks
    # One tile's logits at least: the measurement sees what is used.
    assert min(peaks.values()) > 12, peaks
