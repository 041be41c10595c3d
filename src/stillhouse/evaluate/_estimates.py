"""From scores and texts to estimates with intervals, comparisons and one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.evaluate._config import EvaluateConfig, Goals
from stillhouse.evaluate._results import (
    Comparison,
    Estimate,
    ModelResult,
    ModelRole,
    PositionPoint,
    Target,
)
from stillhouse.evaluate._score import TokenScores
from stillhouse.evaluate._speed import Speed
from stillhouse.models import LanguageModel
from stillhouse.statistics import (
    Interval,
    clustered_bootstrap,
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
        model: For its size.
        scores: Against the teacher; the teacher's own hold zeros.
        texts: Its completions of the first prompts, as many as there are.
        speed: None where it was not timed.
    """

    name: str
    role: ModelRole
    objective: str | None
    model: LanguageModel
    scores: TokenScores
    texts: Sequence[str]
    speed: Speed | None


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
        difference, ratio = (
            bootstrap(
                pair_a,
                pair_b,
                clusters=self._clusters,
                num_resamples=self._config.num_resamples,
                seed=self._config.seed,
            )
            for bootstrap in (paired_bootstrap_difference, paired_bootstrap_ratio)
        )
        return Comparison(
            metric="forward_kl_nats",
            a=a.name,
            b=b.name,
            difference=_estimate(difference),
            ratio=_estimate(ratio),
            verdict=_verdict_of(a.name, b.name, difference),
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

    def _looping(self, texts: Sequence[str]) -> Estimate:
        loops = np.array([float(is_looping(text)) for text in texts])
        return self._ratio(loops, np.ones(len(texts)))

    def _ratio(self, numerators: Floats, denominators: Floats) -> Estimate:
        interval = clustered_bootstrap(
            numerators,
            denominators,
            clusters=self._clusters[: len(numerators)],
            num_resamples=self._config.num_resamples,
            seed=self._config.seed,
        )
        # n is the number of observations: tokens where a denominator counts tokens.
        return _estimate(interval).model_copy(update={"n": round(float(denominators.sum()))})


def check_goals(goals: Goals, models: Sequence[ModelResult], seconds: float) -> tuple[Target, ...]:
    """Each goal with what was reached; a goal whose measurement is missing counts as missed."""
    teacher = models[0]
    student = next(model for model in models if model.role == "student")
    untrained = next((model for model in models if model.role == "untrained"), None)
    sft = next((m for m in models if m.objective == "sft" and m is not student), None)
    targets = []
    if goals.max_parameter_fraction is not None:
        share = student.num_parameters / teacher.num_parameters
        wanted = f"at most {goals.max_parameter_fraction:g} of the teacher's parameters"
        met = share <= goals.max_parameter_fraction
        targets.append(Target(name="Size", wanted=wanted, reached=f"{share:.3f}", is_met=met))
    if goals.min_speedup is not None:
        targets.append(_speed_target(goals.min_speedup, teacher, student))
    if goals.max_kl_fraction is not None:
        targets.append(_kl_target(goals.max_kl_fraction, student, untrained))
    if goals.beats_sft:
        targets.append(_sft_target(student, sft))
    if goals.max_extra_looping is not None:
        extra = student.looping_fraction.value - teacher.looping_fraction.value
        targets.append(
            Target(
                name="Looping text",
                wanted=f"at most {100 * goals.max_extra_looping:g} points more than the teacher",
                reached=f"{100 * student.looping_fraction.value:.1f} % against the teacher's "
                f"{100 * teacher.looping_fraction.value:.1f} %",
                is_met=extra <= goals.max_extra_looping,
            )
        )
    if goals.max_seconds is not None:
        targets.append(
            Target(
                name="Time",
                wanted=f"all stages in at most {goals.max_seconds:g} s",
                reached=f"{seconds:.0f} s",
                is_met=seconds <= goals.max_seconds,
            )
        )
    return tuple(targets)


def verdict(models: Sequence[ModelResult], num_prompts: int) -> str:
    """The evaluation in one sentence."""
    teacher = models[0]
    student = next(model for model in models if model.role == "student")
    untrained = next((model for model in models if model.role == "untrained"), None)
    share = student.num_parameters / teacher.num_parameters
    parts = [f"{student.name} keeps {100 * share:.0f} % of {teacher.name}'s parameters"]
    if teacher.generation_tokens_per_s and student.generation_tokens_per_s:
        speedup = student.generation_tokens_per_s / teacher.generation_tokens_per_s
        parts[0] += f" and writes {speedup:.1f} times as fast"
    kl = student.forward_kl_nats
    assert kl is not None
    text = (
        f"on {num_prompts} held-out prompts its next-token distribution is {kl.value:.2f} nats "
        f"[{kl.low:.2f}, {kl.high:.2f}] from the teacher's"
    )
    if untrained is not None and untrained.forward_kl_nats is not None:
        text += f", down from {untrained.forward_kl_nats.value:.1f} before training"
    return f"{parts[0]}; {text}."


def _speed_target(wanted: float, teacher: ModelResult, student: ModelResult) -> Target:
    if not (teacher.generation_tokens_per_s and student.generation_tokens_per_s):
        return Target(
            name="Speed", wanted=f"at least {wanted:g} times", reached="not timed", is_met=False
        )
    speedup = student.generation_tokens_per_s / teacher.generation_tokens_per_s
    return Target(
        name="Speed",
        wanted=f"at least {wanted:g} times the teacher's generation speed",
        reached=f"{speedup:.2f} times",
        is_met=speedup >= wanted,
    )


def _kl_target(wanted: float, student: ModelResult, untrained: ModelResult | None) -> Target:
    reached, is_met = "not measured", False
    if untrained and untrained.forward_kl_nats and student.forward_kl_nats:
        share = student.forward_kl_nats.value / untrained.forward_kl_nats.value
        reached, is_met = f"{share:.3f} of it", share <= wanted
    return Target(
        name="Closeness",
        wanted=f"held-out KL at most {wanted:g} of the untrained student's",
        reached=reached,
        is_met=is_met,
    )


def _sft_target(student: ModelResult, sft: ModelResult | None) -> Target:
    reached, is_met = "not measured", False
    if sft and sft.forward_kl_nats and student.forward_kl_nats:
        ours, theirs = student.forward_kl_nats, sft.forward_kl_nats
        is_met = ours.high < theirs.low
        reached = (
            f"{ours.value:.2f} [{ours.low:.2f}, {ours.high:.2f}] against "
            f"{theirs.value:.2f} [{theirs.low:.2f}, {theirs.high:.2f}]"
        )
    return Target(
        name="Better than SFT",
        wanted="held-out KL below the SFT student's at equal steps, intervals apart",
        reached=reached,
        is_met=is_met,
    )


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
