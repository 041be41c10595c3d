"""Figures with their intervals, out of the scores alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._quality.scores import Scores, Texts

from stillhouse.statistics import Interval, clustered_bootstrap, paired_bootstrap_ratio

FIGURES = {
    "text_kl": ("text", "forward_kl"),
    "text_nll": ("text", "nll"),
    "own_kl": ("own", "forward_kl"),
    "own_reverse_kl": ("own", "reverse_kl"),
}
"""Whose texts a figure is measured on, and which sum; all are nats per token."""

Seeds = Sequence[Mapping[str, Scores]]
"""For each seed the scores by arm."""


def entry_of(seeds: Seeds) -> dict[str, Any]:
    """What the results say: every figure of every seed, and what the goals ask for."""
    arms = list(dict.fromkeys(arm for seed in seeds for arm in seed))
    return {
        "seeds": len(seeds),
        "arms": {arm: [arm_entry(seed[arm]) for seed in seeds if arm in seed] for arm in arms},
        **_compared(seeds, "kd", "seqkd", "text_kl"),
        **_compared(seeds, "onpolicy", "kd", "own_kl"),
        **_compared(seeds, "onpolicy", "kd", "own_reverse_kl"),
        **_compared(seeds, "onpolicy", "kd", "text_nll"),
        **_compared(seeds, "onpolicy", "kd_longer", "own_kl"),
        **_compared(seeds, "onpolicy", "kd_longer", "text_kl"),
    }


def arm_entry(scores: Scores) -> dict[str, Any]:
    """The figures of one student, clustered by prompt."""
    figures = {name: dataclasses.asdict(interval(scores, name)) for name in FIGURES}
    own = scores.own.tokens
    return {
        **figures,
        "own_tokens": sum(own) / len(own),
        "student_tokens": scores.student_tokens,
        "seconds": scores.seconds,
    }


def interval(scores: Scores, figure: str) -> Interval:
    """A figure per token with its interval."""
    texts, sums = _columns(scores, figure)
    return clustered_bootstrap(sums, texts.tokens, clusters=texts.prompts)


def _compared(seeds: Seeds, arm: str, other: str, figure: str) -> dict[str, Any]:
    """`arm` over `other`, prompt by prompt, seed by seed; nothing where one was not made."""
    both = [seed for seed in seeds if arm in seed and other in seed]
    if not both:
        return {}
    ratios = [_ratio(seed[arm], seed[other], figure) for seed in both]
    values = [ratio.value for ratio in ratios]
    # Of any two seeds: the lot of one arm lies beside the lot of the other.
    ours, theirs = ([interval(seed[name], figure) for seed in both] for name in (arm, other))
    overlaps = sum(one.overlaps(another) for one in ours for another in theirs)
    return {
        f"{arm}_over_{other}_{figure}": {
            "seeds": [dataclasses.asdict(ratio) for ratio in ratios],
            "least": min(values),
            "most": max(values),
            "change": max(values) - 1.0,
            "fall": 1.0 - max(values),
            "overlapping_intervals": overlaps,
        }
    }


def _ratio(ours: Scores, theirs: Scores, figure: str) -> Interval:
    texts, sums = _columns(ours, figure)
    others, other_sums = _columns(theirs, figure)
    return paired_bootstrap_ratio(
        (sums, texts.tokens), (other_sums, others.tokens), clusters=texts.prompts
    )


def _columns(scores: Scores, figure: str) -> tuple[Texts, list[float]]:
    whose, which = FIGURES[figure]
    texts: Texts = getattr(scores, whose)
    sums: list[float] = getattr(texts, which)
    return texts, sums
