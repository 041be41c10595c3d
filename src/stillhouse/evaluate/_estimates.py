"""From scores and texts to estimates with intervals, and comparisons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.evaluate._config import EvaluateConfig
from stillhouse.evaluate._results import (
    Comparison,
    Estimate,
    ModelResult,
    ModelRole,
    OwnTextKl,
    PositionPoint,
)
from stillhouse.evaluate._score import TokenScores
from stillhouse.evaluate._speed import Speed
from stillhouse.models import LanguageModel
from stillhouse.statistics import (
    Interval,
    clustered_bootstrap,
    fraction_interval,
    is_looping,
    paired_bootstrap_difference,
    paired_bootstrap_ratio,
)

_BYTES_PER_WEIGHT = 4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Everything that was measured about one model.

    Attributes:
        name: In the report.
        role: Teacher, untrained or student.
        objective: What it was trained on.
        num_steps: Optimiser steps of its training.
        model: For its size.
        scores: Against the teacher; the teacher's own hold zeros.
        texts: Its completion of each prompt; None where it was not asked.
        num_written_tokens: Tokens generated for them here.
        speed: None where it was not timed.
        own_text_kl: What its training measured, if it did.
    """

    name: str
    role: ModelRole
    objective: str | None
    num_steps: int | None
    model: LanguageModel
    scores: TokenScores
    texts: Sequence[str | None]
    num_written_tokens: int
    speed: Speed | None
    own_text_kl: OwnTextKl | None = None


class Estimator:
    """Bootstraps by cluster, always with the same resamples, so that differences are paired."""

    def __init__(self, clusters: Sequence[str], config: EvaluateConfig) -> None:
        self._clusters = np.array(clusters)
        self._config = config

    def model_result(self, measured: Measured) -> ModelResult:
        """The row of one model."""
        model, scores, speed = measured.model, measured.scores, measured.speed
        is_teacher = measured.role == "teacher"
        return ModelResult(
            name=measured.name,
            role=measured.role,
            objective=measured.objective,
            num_steps=measured.num_steps,
            own_text_kl=measured.own_text_kl,
            num_parameters=model.num_parameters,
            num_embedding_parameters=model.num_embedding_parameters,
            num_layers=model.num_layers,
            weight_bytes=_BYTES_PER_WEIGHT * model.num_parameters,
            memory_bytes=speed.memory_bytes if speed else None,
            generation_tokens_per_s=speed.tokens_per_s if speed else None,
            latency_s_per_completion=speed.latency_s if speed else None,
            forward_kl_nats=None if is_teacher else self._per_token(scores, scores.forward_kl_N),
            top1_agreement=None if is_teacher else self._per_token(scores, scores.top1_N),
            teacher_text_perplexity=_exp(self._per_token(scores, scores.nll_N)),
            looping_fraction=self._looping(measured.texts),
            by_position=() if is_teacher else self._by_position(scores),
        )

    def compare_kl(self, a: Measured, b: Measured) -> Comparison:
        """KL of `a` against that of `b` on the same prompts."""
        pair_a = (a.scores.per_prompt(a.scores.forward_kl_N), a.scores.tokens_P)
        pair_b = (b.scores.per_prompt(b.scores.forward_kl_N), b.scores.tokens_P)
        difference = self._paired(paired_bootstrap_difference, pair_a, pair_b)
        # A model that is the teacher (nothing pruned, nothing trained) has no KL to divide by.
        is_apart = bool((pair_b[0] > 0).all())
        ratio = self._paired(paired_bootstrap_ratio, pair_a, pair_b) if is_apart else None
        return Comparison(
            metric="forward_kl_nats",
            a=a.name,
            b=b.name,
            difference=_estimate(difference),
            ratio=_estimate(ratio) if ratio else None,
            verdict=_verdict_of(a.name, b.name, difference),
        )

    def _paired(
        self, bootstrap: Callable[..., Interval], a: tuple[Floats, Floats], b: tuple[Floats, Floats]
    ) -> Interval:
        return bootstrap(
            a,
            b,
            clusters=self._clusters,
            num_resamples=self._config.num_resamples,
            seed=self._config.seed,
        )

    def _per_token(self, scores: TokenScores, values_N: Floats) -> Estimate:
        return self._ratio(scores.per_prompt(values_N), scores.tokens_P)

    def _by_position(self, scores: TokenScores) -> tuple[PositionPoint, ...]:
        points = []
        num_prompts = len(scores.tokens_P)
        for position in range(self._config.max_position):
            at = scores.position_N == position
            present_P = np.bincount(scores.prompt_N[at], minlength=num_prompts).astype(np.float64)
            labels = self._clusters[present_P > 0]
            if len(set(labels.tolist())) < 10:  # an interval over fewer says nothing
                break
            sums_P = np.bincount(
                scores.prompt_N[at], weights=scores.forward_kl_N[at], minlength=num_prompts
            ).astype(np.float64)
            points.append(
                PositionPoint(position=position, forward_kl=self._ratio(sums_P, present_P))
            )
        return tuple(points)

    def _looping(self, texts: Sequence[str | None]) -> Estimate:
        loops_P = np.array([float(text is not None and is_looping(text)) for text in texts])
        asked_P = np.array([float(text is not None) for text in texts])
        estimate = self._ratio(loops_P, asked_P)
        if 0.0 < estimate.value < 1.0:
            return estimate
        # Resampling what never varies gives an interval of no width. Groups are the independent
        # items, so the exact interval is over them.
        num_groups = estimate.num_clusters
        exact = fraction_interval(round(estimate.value * num_groups), num_groups)
        return estimate.model_copy(update={"low": exact.low, "high": exact.high})

    def _ratio(self, numerators: Floats, denominators: Floats) -> Estimate:
        interval = clustered_bootstrap(
            numerators,
            denominators,
            clusters=self._clusters,
            num_resamples=self._config.num_resamples,
            seed=self._config.seed,
        )
        # n is the number of observations: tokens where a denominator counts tokens.
        return _estimate(interval).model_copy(update={"n": round(float(denominators.sum()))})


def _verdict_of(a: str, b: str, difference: Interval) -> str:
    if difference.high < 0:
        return f"{a} is closer to the teacher than {b}."
    if difference.low > 0:
        return f"{a} is farther from the teacher than {b}."
    return f"Inconclusive: the interval of the difference between {a} and {b} holds zero."


def _estimate(interval: Interval) -> Estimate:
    return Estimate(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        num_clusters=interval.num_clusters,
    )


def _exp(estimate: Estimate) -> Estimate:
    ends = {name: float(np.exp(getattr(estimate, name))) for name in ("value", "low", "high")}
    return estimate.model_copy(update=ends)
