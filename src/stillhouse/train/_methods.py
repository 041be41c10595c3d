"""What may be chosen of a method, and what goes together. Loads without torch.

A method is three choices: the source (whose texts the student reads on), the guide (who says what
comes next) and the objective (how the two are compared). They are independent, so that a direction
of divergence does not decide whose texts it is measured on; what cannot go together is refused
here, in one line, before anything is loaded or written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from stillhouse.errors import ConfigError
from stillhouse.train._rollout_config import RolloutConfig

SourceName = Literal["dataset", "rollouts", "mixed", "speculative", "pairs", "rated"]
GuideName = Literal["text", "signal", "live"]
ObjectiveName = Literal[
    "sft",
    "forward_kl",
    "reverse_kl",
    "mixed_kl",
    "generalized_jsd",
    "normalized_jsd",
    "skew_kl",
    "skew_reverse_kl",
    "total_variation",
    "adaptive_kl",
    "sorted_l1",
    "sampled_cross_entropy",
    "k2_reverse_kl_gradient",
    "k3_forward_kl_gradient",
    "policy_gradient_truncated",
    "policy_gradient_gated",
    "alm",
    "uld",
    "distillm2",
    "preference",
    "adversarial",
]

SOURCES: Mapping[SourceName, str] = MappingProxyType(
    {
        "dataset": "the dataset's completions",
        "rollouts": "completions that the student draws as it is then (on-policy)",
        "mixed": "rollouts for a part of each batch, the dataset's completions for the rest",
        "speculative": "the student's tokens, replaced where the teacher finds them unlikely",
        "pairs": "the dataset's completion and a rollout on the same prompt, side by side",
        "rated": "rollouts that a discriminator, which learns too, compares with the dataset's",
    }
)
GUIDES: Mapping[GuideName, str] = MappingProxyType(
    {
        "text": "the tokens of the texts themselves",
        "signal": "what `stillhouse capture` kept of the teacher's distributions",
        "live": "a teacher that is loaded and asked in every step",
    }
)

_HOW_TO_GIVE: Mapping[GuideName, str] = {
    "text": "no signal and no live.teachers",
    "signal": "no live.teachers, and a folder of `stillhouse capture`",
    "live": "live.teachers, or --teacher",
}


@dataclass(frozen=True)
class Method:
    """An objective, and what it goes with.

    Attributes:
        summary: What it compares, in one line; docs/objectives.md has the rest.
        sources: Whose texts it can be measured on.
        guides: Who can say what the student should predict.
        is_per_token: Whether `losses.OBJECTIVES` has it; others are sums over whole texts.
    """

    summary: str
    sources: tuple[SourceName, ...]
    guides: tuple[GuideName, ...]
    is_per_token: bool = True

    @property
    def is_of_drawn_tokens(self) -> bool:
        """Whether it reads what the student drew and how likely that was, token by token."""
        return self.sources == ("rollouts",) and self.is_per_token


def _on_distributions(summary: str) -> Method:
    return Method(summary, ("dataset", "rollouts", "mixed", "speculative"), ("signal", "live"))


def _on_drawn_tokens(summary: str) -> Method:
    # Its gradient is right in the mean over the student's own draws, and on no other text.
    return Method(summary, ("rollouts",), ("live",))


OBJECTIVES: Mapping[ObjectiveName, Method] = MappingProxyType(
    {
        "sft": Method("cross-entropy on the teacher's text", ("dataset",), ("text",)),
        "forward_kl": _on_distributions("KL(teacher || student), which covers all of the teacher"),
        "reverse_kl": _on_distributions("KL(student || teacher), which avoids what it avoids"),
        "mixed_kl": _on_distributions("a weighted sum of forward and reverse KL"),
        "generalized_jsd": _on_distributions("both to a mixture of the two, weighted"),
        "normalized_jsd": _on_distributions("the same, in one scale from forward to reverse KL"),
        "skew_kl": _on_distributions("KL of the teacher to a mixture with a little teacher"),
        "skew_reverse_kl": _on_distributions("KL of the student to a mixture with a little of it"),
        "total_variation": _on_distributions("half the absolute difference, bounded"),
        "adaptive_kl": _on_distributions("forward or reverse KL, by where the two differ most"),
        "sorted_l1": _on_distributions("difference of sorted probabilities, across tokenizers"),
        "sampled_cross_entropy": Method(
            "cross-entropy on draws of the teacher, unbiased", ("dataset",), ("signal",)
        ),
        "k2_reverse_kl_gradient": _on_drawn_tokens("squared log-ratio of the drawn token"),
        "k3_forward_kl_gradient": _on_drawn_tokens("Schulman's k3; it descends forward KL"),
        "policy_gradient_truncated": _on_drawn_tokens(
            "reverse KL as a policy gradient, importance ratio truncated"
        ),
        "policy_gradient_gated": _on_drawn_tokens(
            "the same; tokens whose ratio is off by too much do not count"
        ),
        "alm": Method(
            "likelihoods of chunks of text, across tokenizers",
            ("dataset",),
            ("signal",),
            is_per_token=False,
        ),
        "uld": Method(
            "the text, and sorted distributions place by place, across tokenizers",
            ("dataset",),
            ("live",),
            is_per_token=False,
        ),
        "distillm2": Method(
            "skew KL on the teacher's text and skew reverse KL on the student's",
            ("pairs",),
            ("live",),
            is_per_token=False,
        ),
        "preference": Method(
            "the teacher's text preferred over the student's own (DPO)",
            ("pairs",),
            ("text",),
            is_per_token=False,
        ),
        "adversarial": Method(
            "policy gradient on the ratings of a discriminator (GAD)",
            ("rated",),
            ("text",),
            is_per_token=False,
        ),
    }
)


def check_method(objective: ObjectiveName, source: SourceName, guide: GuideName) -> None:
    """Refuse what cannot be trained.

    Raises:
        ConfigError: the three do not go together. The message has no full stop: settings add one.
    """
    method = OBJECTIVES[objective]
    if source not in method.sources:
        raise ConfigError(
            f"objective {objective} cannot learn from source {source}; "
            f"use {' or '.join(method.sources)}, or another objective"
        )
    if guide not in method.guides:
        raise ConfigError(
            f"objective {objective} cannot be guided by {guide} ({GUIDES[guide]}); "
            f"it needs {' or '.join(f'{name} ({_HOW_TO_GIVE[name]})' for name in method.guides)}"
        )
    if guide == "signal" and source != "dataset":
        raise ConfigError(
            f"source {source} makes new texts, which no captured signal can know; "
            "set live.teachers to a teacher that is asked in every step, or use source dataset"
        )


def check_rollouts(objective: ObjectiveName, rollout: RolloutConfig) -> None:
    """Refuse rollouts that an objective of drawn tokens would be wrong on.

    Raises:
        ConfigError: it needs fresh ones, or has no use for what is set for policy gradients.
    """
    is_policy_gradient = objective.startswith("policy_gradient")
    is_of_drawn = OBJECTIVES[objective].is_of_drawn_tokens
    if is_of_drawn and not is_policy_gradient and rollout.refresh_steps > 1:
        raise ConfigError(
            f"objective {objective} is right on fresh rollouts only, but rollout.refresh_steps="
            f"{rollout.refresh_steps}; set it to 1, or use policy_gradient_truncated"
        )
    for setting, value, off in (
        ("future_discount", rollout.future_discount, 0.0),
        ("baseline", rollout.baseline, "none"),
    ):
        if value != off and not is_policy_gradient:
            raise ConfigError(
                f"rollout.{setting}={value} is for policy gradients, not for {objective}; set it "
                f"to {off}, or use policy_gradient_truncated"
            )
