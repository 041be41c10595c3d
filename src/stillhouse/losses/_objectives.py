"""Every objective by name, with its parameters, the targets it can learn from and its source."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.losses import _divergences, _token_rules
from stillhouse.losses._kernels import dense_kernel, picked_kernel, projected_kernel, topk_kernel
from stillhouse.losses._targets import (
    DenseTarget,
    HiddenTarget,
    MixtureTarget,
    ProjectedTarget,
    SampledTarget,
    ScoredTarget,
    TokenTarget,
    TopKTarget,
    WholeTarget,
)

Kernel = Callable[[Tensor, Any, Tensor], Tensor]
"""(logits_CV, target rows, weight_C) -> loss (C,); the weighted gradient replaces the logits."""


@dataclass(frozen=True)
class Parameter:
    """A number that an objective takes.

    Attributes:
        default: Used where none is given.
        low: Smallest value.
        high: Largest value.
        is_open: Whether `low` and `high` themselves are refused.
    """

    default: float
    low: float
    high: float = float("inf")
    is_open: bool = False

    def check(self, name: str, value: object) -> float:
        """The value as a float.

        Raises:
            ConfigError: it is no number or out of range.
        """
        if isinstance(value, int | float) and not isinstance(value, bool):
            inside = (
                self.low < value < self.high if self.is_open else self.low <= value <= self.high
            )
            if inside and value != float("inf"):
                return float(value)
        ends = "()" if self.is_open else "[]"
        allowed = f"{ends[0]}{self.low:g}, {self.high:g}{ends[1]}"
        raise ConfigError(f"{name}={value!r}; give a number in {allowed}.")


@dataclass(frozen=True)
class ObjectiveSpec:
    """One row of the table.

    Attributes:
        compute: A divergence over outcomes, or a rule on picked tokens.
        targets: Kinds of target that it can learn from.
        source: Where it was published.
        parameters: What it takes, by name.
    """

    compute: Callable[..., _divergences.LossAndSlope]
    targets: tuple[type, ...]
    source: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


_WHOLE = (DenseTarget, HiddenTarget, MixtureTarget)
_DISTRIBUTIONS = (TopKTarget, ProjectedTarget, *_WHOLE)
_TEMPERATURE = {"loss_temperature": Parameter(1.0, 0.0, is_open=True)}
_RATIO = {"max_ratio": Parameter(2.0, 1.0)}  # not tuned


def _divergence(
    compute: Callable[..., _divergences.LossAndSlope], source: str, **parameters: Parameter
) -> ObjectiveSpec:
    return ObjectiveSpec(compute, _DISTRIBUTIONS, source, {**parameters, **_TEMPERATURE})


def _scored(
    compute: Callable[..., _divergences.LossAndSlope], source: str, **parameters: Parameter
) -> ObjectiveSpec:
    return ObjectiveSpec(compute, (ScoredTarget,), source, parameters)


OBJECTIVES: Mapping[str, ObjectiveSpec] = MappingProxyType(
    {
        "sft": ObjectiveSpec(_token_rules.sft, (TokenTarget,), "Kim & Rush 2016, arXiv:1606.07947"),
        "forward_kl": _divergence(_divergences.forward_kl, "Hinton et al. 2015, arXiv:1503.02531"),
        "reverse_kl": _divergence(_divergences.reverse_kl, "MiniLLM 2023, arXiv:2306.08543"),
        "mixed_kl": _divergence(
            _divergences.mixed_kl,
            "Decoupling KL 2026, arXiv:2605.16826",
            forward_weight=Parameter(0.5, 0.0, 1.0),
        ),
        "generalized_jsd": _divergence(
            _divergences.generalized_jsd,
            "GKD 2023, arXiv:2306.13649",
            teacher_weight=Parameter(0.5, 0.0, 1.0, is_open=True),
        ),
        "normalized_jsd": _divergence(
            _divergences.normalized_jsd,
            "GKD 2023, arXiv:2306.13649, divided by b (1 - b)",
            teacher_weight=Parameter(0.5, 0.0, 1.0),
        ),
        "skew_kl": _divergence(
            _divergences.skew_kl,
            "DistiLLM 2024, arXiv:2402.03898",
            skew=Parameter(0.1, 0.0, 0.999),
        ),
        "skew_reverse_kl": _divergence(
            _divergences.skew_reverse_kl,
            "DistiLLM 2024, arXiv:2402.03898",
            skew=Parameter(0.1, 0.0, 0.999),
        ),
        "total_variation": _divergence(
            _divergences.total_variation, "f-distill 2023, arXiv:2307.15190"
        ),
        "adaptive_kl": _divergence(
            _divergences.adaptive_kl,
            "AKL 2024, arXiv:2404.02657",
            head_mass=Parameter(0.5, 0.0, 1.0, is_open=True),
        ),
        "sorted_l1": ObjectiveSpec(
            _divergences.sorted_l1, _WHOLE, "ULD 2024, arXiv:2402.12030", _TEMPERATURE
        ),
        "sampled_cross_entropy": ObjectiveSpec(
            _token_rules.sampled_cross_entropy, (SampledTarget,), "RS-KD 2025, arXiv:2503.16870"
        ),
        "k2_reverse_kl_gradient": _scored(
            _token_rules.k2_reverse_kl_gradient,
            "Schulman 2020, joschu.net/blog/kl-approx.html",
        ),
        "k3_forward_kl_gradient": _scored(
            _token_rules.k3_forward_kl_gradient,
            "Schulman 2020, joschu.net/blog/kl-approx.html",
        ),
        "policy_gradient_truncated": _scored(
            _token_rules.policy_gradient_truncated, "AsyncOPD 2026, arXiv:2606.24143", **_RATIO
        ),
        "policy_gradient_gated": _scored(
            _token_rules.policy_gradient_gated, "AsyncOPD 2026, arXiv:2606.24143", **_RATIO
        ),
    }
)


class Objective:
    """A named loss with its parameters, checked; two with the same settings are equal.

    Args:
        name: One of `OBJECTIVES`.
        parameters: Its numbers; those left out have their defaults.

    Raises:
        ConfigError: the name or a parameter is unknown, or a value is out of range.
    """

    def __init__(self, name: str, **parameters: float) -> None:
        if name not in OBJECTIVES:
            raise ConfigError(f"objective {name!r}; give one of {', '.join(OBJECTIVES)}.")
        known = OBJECTIVES[name].parameters
        if unknown := sorted(set(parameters) - set(known)):
            allowed = ", ".join(known) or "none"
            raise ConfigError(
                f"objective {name} has no parameter {unknown[0]!r}; it has {allowed}."
            )
        self.name = name
        self.parameters: Mapping[str, float] = MappingProxyType(
            {
                key: one.check(f"{name} {key}", parameters.get(key, one.default))
                for key, one in known.items()
            }
        )

    def __repr__(self) -> str:
        arguments = "".join(f", {key}={value:g}" for key, value in self.parameters.items())
        return f"Objective({self.name!r}{arguments})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objective) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.name, *self.parameters.items())

    def kernel_for(self, target: object) -> Kernel:
        """What computes this objective on one tile of logits, given a target of this kind.

        Raises:
            ConfigError: the objective cannot learn from such a target.
        """
        spec = OBJECTIVES[self.name]
        if not isinstance(target, spec.targets):
            allowed = ", ".join(kind.__name__ for kind in spec.targets)
            raise ConfigError(
                f"objective {self.name} cannot learn from a {type(target).__name__}; "
                f"give it one of {allowed}, or choose another objective."
            )
        numbers = dict(self.parameters)
        temperature = numbers.pop("loss_temperature", 1.0)
        compute = partial(spec.compute, **numbers) if numbers else spec.compute
        if isinstance(target, WholeTarget):
            return partial(dense_kernel, divergence=compute, loss_temperature=temperature)
        if temperature != 1.0:
            raise ConfigError(
                f"loss_temperature={temperature:g} with a {type(target).__name__}: its "
                "log-probabilities were stored at temperature 1 and cannot be brought to another. "
                "Use 1, or a teacher with hidden states or all logits."
            )
        if isinstance(target, TopKTarget):
            return partial(topk_kernel, divergence=compute)
        if isinstance(target, ProjectedTarget):
            return partial(projected_kernel, divergence=compute)
        return partial(picked_kernel, rule=compute)
