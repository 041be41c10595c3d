"""Random signals for the losses, and every objective from its definition, in float64.

The references know nothing of the kernels: probabilities, whole vocabularies, loops where they
read better, and autograd. A reference gives the loss per position as a function of the student's
logits; its gradient is the one that the objective promises.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stillhouse.losses import (
    DenseTarget,
    HeadTarget,
    HiddenTarget,
    MixtureTarget,
    ProjectedTarget,
    SampledTarget,
    ScoredTarget,
    TokenTarget,
    TopKTarget,
)

FLOOR = 2.0**-23  # what reverse KL takes a probability of 0 for


class TopK(NamedTuple):
    """A teacher's top-k with its tail, as a signal holds it."""

    ids_NK: Tensor
    logprobs_NK: Tensor
    tail_N: Tensor


def logits(*shape: int, seed: int, scale: float = 2.0) -> Tensor:
    """Float64 logits whose distributions are neither flat nor one-hot."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def topk_of(logits_NV: Tensor, k: int) -> TopK:
    """The k most likely ids with exact log-probabilities and the exact log of what is left."""
    logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
    top, ids = logprobs_NV.topk(k, dim=-1)
    rest = logprobs_NV.clone().scatter_(-1, ids, -torch.inf)
    return TopK(ids, top, torch.logsumexp(rest, dim=-1))


def cross_entropy_by_hand(logits_NV: Tensor, ids_N: Tensor) -> Tensor:
    """-log q(id), row by row from the definition."""
    rows = [
        -(row[token] - torch.log(torch.exp(row).sum()))
        for row, token in zip(logits_NV, ids_N.tolist(), strict=True)
    ]
    return torch.stack(rows)


def forward_kl_by_hand(student_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """Sum of p log(p / q) of two logits."""
    return _forward(torch.softmax(teacher_NV, 1), torch.softmax(student_NV, 1))


def bucketed_kl_by_hand(student_NV: Tensor, top: TopK) -> Tensor:
    """KL between two distributions over K + 1 outcomes that are written out."""
    return _forward(*_bucketed(student_NV, TopKTarget(*top)))


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Length of the difference over the length of what was wanted."""
    return float((found.detach().double() - wanted.detach()).norm() / wanted.detach().norm())


def _forward(p: Tensor, q: Tensor) -> Tensor:
    return (torch.xlogy(p, p) - torch.where(p > 0, p * q.clamp(min=1e-300).log(), 0.0)).sum(1)


def _reverse(p: Tensor, q: Tensor) -> Tensor:
    return _forward(q, torch.where(p > 0, p, FLOOR))


def _jsd(p: Tensor, q: Tensor, teacher_weight: float) -> Tensor:
    b = teacher_weight
    mixture = b * p + (1 - b) * q
    return b * _forward(p, mixture) + (1 - b) * _forward(q, mixture)


def _normalized_jsd(p: Tensor, q: Tensor, teacher_weight: float) -> Tensor:
    if teacher_weight in (0.0, 1.0):
        return (_reverse if teacher_weight else _forward)(p, q)
    return _jsd(p, q, teacher_weight) / (teacher_weight * (1 - teacher_weight))


def _skew_reverse(p: Tensor, q: Tensor, skew: float) -> Tensor:
    return _forward(q, skew * q + (1 - skew) * p) if skew else _reverse(p, q)


def _adaptive(p: Tensor, q: Tensor, head_mass: float) -> Tensor:
    shares = []
    for p_row, gap_row in zip(p.detach().tolist(), (p - q).detach().abs().tolist(), strict=True):
        mass, head = 0.0, 0.0
        for outcome in sorted(range(len(p_row)), key=lambda one: -p_row[one]):
            if mass >= head_mass:
                break
            mass += p_row[outcome]
            head += gap_row[outcome]
        shares.append(head / sum(gap_row))
    share = torch.tensor(shares, dtype=torch.float64)
    return share * _forward(p, q) + (1 - share) * _reverse(p, q)


def _sorted_l1(p: Tensor, q: Tensor) -> Tensor:
    width = max(p.shape[1], q.shape[1])
    ranked = [
        torch.nn.functional.pad(one.sort(dim=1, descending=True).values, (0, width - one.shape[1]))
        for one in (p, q)
    ]
    return (ranked[0] - ranked[1]).abs().sum(1)


DIVERGENCES: dict[str, Callable[..., Tensor]] = {
    "forward_kl": _forward,
    "reverse_kl": _reverse,
    "mixed_kl": lambda p, q, forward_weight: (
        forward_weight * _forward(p, q) + (1 - forward_weight) * _reverse(p, q)
    ),
    "generalized_jsd": _jsd,
    "normalized_jsd": _normalized_jsd,
    "skew_kl": lambda p, q, skew: _forward(p, skew * p + (1 - skew) * q),
    "skew_reverse_kl": _skew_reverse,
    "total_variation": lambda p, q: (p - q).abs().sum(1) / 2,
    "adaptive_kl": _adaptive,
    "sorted_l1": _sorted_l1,
}
"""Of probabilities (N, O) of teacher and student, by the name of the objective."""


def _picked(student_NV: Tensor, target: Any) -> Tensor:
    return torch.log_softmax(student_NV, 1).gather(1, target.ids_N.unsqueeze(1)).squeeze(1)


def _sampled(student_NV: Tensor, target: SampledTarget) -> Tensor:
    dense_NV = torch.zeros_like(student_NV).scatter_add(1, target.ids_NJ, target.weights_NJ)
    return -(dense_NV * torch.log_softmax(student_NV, 1)).sum(1)


def _k2(student_NV: Tensor, target: ScoredTarget) -> Tensor:
    return (_picked(student_NV, target) - target.teacher_logprob_N) ** 2 / 2


def _k3(student_NV: Tensor, target: ScoredTarget) -> Tensor:
    ratio_N = (target.teacher_logprob_N - _picked(student_NV, target)).exp()
    return ratio_N - 1 - ratio_N.log()


def _policy_gradient(student_NV: Tensor, target: ScoredTarget, weigh: Any) -> Tensor:
    logprob_N = _picked(student_NV, target)
    ratio_N = weigh((logprob_N - target.behaviour_logprob_N).exp().detach())
    cost_N = ratio_N * (logprob_N - target.teacher_logprob_N).detach()
    return cost_N + cost_N * (logprob_N - logprob_N.detach())


TOKEN_RULES: dict[str, Callable[..., Tensor]] = {
    "sft": lambda student_NV, target: cross_entropy_by_hand(student_NV, target.ids_N),
    "sampled_cross_entropy": _sampled,
    "k2_reverse_kl_gradient": _k2,
    "k3_forward_kl_gradient": _k3,
    "policy_gradient_truncated": lambda student_NV, target, max_ratio: _policy_gradient(
        student_NV, target, lambda ratio_N: ratio_N.clamp(max=max_ratio)
    ),
    "policy_gradient_gated": lambda student_NV, target, max_ratio: _policy_gradient(
        student_NV,
        target,
        lambda ratio_N: ratio_N * ((ratio_N <= max_ratio) & (ratio_N >= 1 / max_ratio)),
    ),
}
"""Of the student's logits and the target."""

SETTINGS: dict[str, list[dict[str, float]]] = {
    "mixed_kl": [{"forward_weight": 0.5}, {"forward_weight": 0.0}, {"forward_weight": 0.8}],
    "generalized_jsd": [{"teacher_weight": weight} for weight in (0.01, 0.5, 0.9)],
    "normalized_jsd": [{"teacher_weight": weight} for weight in (0.0, 0.01, 0.5, 0.9, 0.999, 1.0)],
    "skew_kl": [{"skew": skew} for skew in (0.0, 0.1, 0.7)],
    "skew_reverse_kl": [{"skew": skew} for skew in (0.0, 0.1, 0.7)],
    "adaptive_kl": [{"head_mass": 0.5}, {"head_mass": 0.9}],
    "policy_gradient_truncated": [{"max_ratio": 1.0}, {"max_ratio": 2.0}],
    "policy_gradient_gated": [{"max_ratio": 1.5}, {"max_ratio": 5.0}],
}
"""Parameters to test; an objective that is not here has none."""


def _bucketed(student_NV: Tensor, target: TopKTarget) -> tuple[Tensor, Tensor]:
    ps, qs = [], []
    for row, q_V in enumerate(torch.softmax(student_NV, dim=1)):
        given = list(dict.fromkeys(target.ids_NK[row].tolist()))
        others = [token for token in range(len(q_V)) if token not in given]
        p_K = target.logprobs_NK[row].exp()[: len(given)]
        tail = target.tail_logprob_N[row].exp() if others else torch.zeros(()).double()
        width = target.ids_NK.shape[1] - len(given)
        ps.append(torch.cat([p_K, tail.unsqueeze(0), p_K.new_zeros(width)]))
        qs.append(torch.cat([q_V[given], q_V[others].sum().unsqueeze(0), q_V.new_zeros(width)]))
    return torch.stack(ps), torch.stack(qs)


def _projected(student_NV: Tensor, target: ProjectedTarget) -> tuple[Tensor, Tensor]:
    q_NV = torch.softmax(student_NV, dim=1)
    num_rows, num_outcomes, _ = target.weights_NKJ.shape
    matrix_NKV = q_NV.new_zeros(num_rows, num_outcomes, q_NV.shape[1])
    matrix_NKV.scatter_add_(2, target.student_ids_NKJ, target.weights_NKJ)
    sets_NK = (matrix_NKV * q_NV.unsqueeze(1)).sum(2)
    tail_N1 = (q_NV * (1 - matrix_NKV.sum(1))).sum(1, keepdim=True)
    p = torch.cat([target.logprobs_NK, target.tail_logprob_N.unsqueeze(1)], 1).exp()
    return p, torch.cat([sets_NK, tail_N1], 1)


def outcomes(
    student_NV: Tensor, target: Any, loss_temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Probabilities of teacher and student over what the target tells apart."""
    match target:
        case TopKTarget():
            return _bucketed(student_NV, target)
        case ProjectedTarget():
            return _projected(student_NV, target)
        case HiddenTarget():
            teacher_NV = target.hidden_NE @ target.head_VE.T
        case MixtureTarget():
            parts = [torch.softmax(one.hidden_NE @ one.head_VE.T, 1) for one in target.teachers]
            mixed_NV = (target.weights_NM.T.unsqueeze(2) * torch.stack(parts)).sum(0)
            teacher_NV = mixed_NV.log()
        case _:
            teacher_NV = target.logits_NV
    teacher_NV, student_NV = teacher_NV / loss_temperature, student_NV / loss_temperature
    return torch.softmax(teacher_NV, 1), torch.softmax(student_NV, 1)


def by_definition(name: str, student_NV: Tensor, target: HeadTarget, **numbers: float) -> Tensor:
    """The loss per position of an objective, differentiable by the student's logits."""
    if name in TOKEN_RULES:
        return TOKEN_RULES[name](student_NV, target, **numbers)
    temperature = numbers.pop("loss_temperature", 1.0)
    return DIVERGENCES[name](*outcomes(student_NV, target, temperature), **numbers)


def target_of(kind: type, teacher_NV: Tensor, *, k: int = 5, seed: int = 2) -> HeadTarget:
    """What a teacher of these logits leaves behind in one kind of signal, in float64."""
    num_rows, size = teacher_NV.shape
    generator = torch.Generator().manual_seed(seed)
    ids_N = torch.randint(0, size, (num_rows,), generator=generator)
    logprobs_NV = torch.log_softmax(teacher_NV, 1)
    if kind is TokenTarget:
        return TokenTarget(ids_N)
    if kind is ScoredTarget:
        teacher_N = logprobs_NV.gather(1, ids_N.unsqueeze(1)).squeeze(1)
        return ScoredTarget(ids_N, teacher_N, teacher_N + logits(num_rows, seed=seed, scale=0.7))
    if kind is SampledTarget:
        ids_NJ = torch.randint(0, size, (num_rows, k), generator=generator)
        return SampledTarget(ids_NJ, torch.rand(num_rows, k, generator=generator).double())
    if kind is TopKTarget:
        return TopKTarget(*topk_of(teacher_NV, k))
    if kind is DenseTarget:
        return DenseTarget(teacher_NV)
    if kind in (HiddenTarget, MixtureTarget):
        return hidden_target(kind, teacher_NV, torch.eye(size, dtype=torch.float64))
    return _projected_target(teacher_NV, k, generator)


def hidden_target(kind: type, hidden_NE: Tensor, head_VE: Tensor) -> Any:
    """A teacher as hidden states and head, alone or twice: then its mixture is itself."""
    alone = HiddenTarget(hidden_NE, head_VE)
    if kind is HiddenTarget:
        return alone
    shares_N = torch.linspace(0.0, 1.0, len(hidden_NE), dtype=hidden_NE.dtype)
    return MixtureTarget(torch.stack([shares_N, 1.0 - shares_N], dim=1), (alone, alone))


def _projected_target(teacher_NV: Tensor, k: int, generator: torch.Generator) -> ProjectedTarget:
    num_rows, size = teacher_NV.shape
    top = topk_of(teacher_NV, k)
    # Sets overlap, one id in a set occurs twice, the second set ends in a filler of weight 0.
    ids_NKJ = torch.randint(0, size, (num_rows, k, 3), generator=generator)
    ids_NKJ[:, 0, 1] = ids_NKJ[:, 0, 0]
    weights_NKJ = torch.rand(num_rows, k, 3, generator=generator).double()
    weights_NKJ[:, 1:2, 2] = 0.0
    claimed_NV = torch.zeros_like(teacher_NV)
    claimed_NV.scatter_add_(1, ids_NKJ.flatten(1), weights_NKJ.flatten(1))
    weights_NKJ *= 0.9 / claimed_NV.amax(1).view(-1, 1, 1)
    return ProjectedTarget(top.logprobs_NK, top.tail_N, ids_NKJ, weights_NKJ)


def cast(target: HeadTarget, dtype: torch.dtype) -> Any:
    """The target with its floating tensors in another precision."""
    if isinstance(target, MixtureTarget):
        teachers = tuple(cast(one, dtype) for one in target.teachers)
        return MixtureTarget(target.weights_NM.to(dtype), teachers)
    values = {
        name: value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in vars(target).items()
    }
    return type(target)(**values)
