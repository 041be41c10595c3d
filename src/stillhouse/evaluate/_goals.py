"""What was asked for against what was reached, and the evaluation in one sentence."""

from collections.abc import Iterator, Sequence

from stillhouse.evaluate._config import Goals
from stillhouse.evaluate._results import Comparison, Estimate, ModelResult, Target


def check_goals(goals: Goals, models: Sequence[ModelResult], seconds: float) -> tuple[Target, ...]:
    """Each goal with what was reached; a goal whose measurement is missing counts as missed.

    Args:
        goals: What was asked for.
        models: The teacher first, then the students; the first of them is meant.
        seconds: Time of all stages together.
    """
    return tuple(_targets(goals, models, seconds))


def verdict(
    models: Sequence[ModelResult],
    num_prompts: int,
    *,
    comparisons: Sequence[Comparison] = (),
    targets: Sequence[Target] = (),
) -> str:
    """The evaluation in one sentence: size, speed, closeness, and what was not reached.

    Args:
        models: The teacher first, then the students; the first of them is meant.
        num_prompts: Held-out prompts behind the closeness.
        comparisons: Of the student's KL with other models' on the same prompts.
        targets: What `check_goals` found.
    """
    teacher, student = models[0], _student(models)
    share = student.num_parameters / teacher.num_parameters
    size = f"{_subject(student.name)} keeps {100 * share:.0f} % of the teacher's parameters"
    if speedup := _speedup(teacher, student):
        size += f" and writes {speedup:.1f} times as fast"
    kl = student.forward_kl_nats
    assert kl is not None
    closeness = (
        f"on {num_prompts} held-out prompts its next-token distributions are {kl.value:.2f} nats "
        f"per token (95 % interval {kl.low:.2f} to {kl.high:.2f}) from the teacher's"
    )
    beside = [
        *_before_training(kl, _untrained(models)),
        *_beside_sft(student, _sft(models), comparisons),
    ]
    if beside:
        closeness += f", {' and '.join(beside)}"
    return f"{'; '.join([size, closeness, *_goals_reached(targets)])}."


def _targets(goals: Goals, models: Sequence[ModelResult], seconds: float) -> Iterator[Target]:
    teacher, student = models[0], _student(models)
    if goals.max_parameter_fraction is not None:
        share = student.num_parameters / teacher.num_parameters
        yield Target(
            name="Size",
            wanted=f"at most {goals.max_parameter_fraction:g} of the teacher's parameters",
            reached=f"{share:.3f} of them",
            is_met=share <= goals.max_parameter_fraction,
        )
    if goals.min_speedup is not None:
        yield _speed_target(goals.min_speedup, teacher, student)
    if goals.max_kl_fraction is not None:
        yield _kl_target(goals.max_kl_fraction, student, _untrained(models))
    if goals.beats_sft:
        yield _sft_target(student, _sft(models))
    if goals.max_extra_looping is not None:
        yield _looping_target(goals.max_extra_looping, teacher, student)
    if goals.max_seconds is not None:
        yield Target(
            name="Time",
            wanted=f"all stages in at most {goals.max_seconds:g} s",
            reached=f"{seconds:.0f} s",
            is_met=seconds <= goals.max_seconds,
        )


def _speed_target(wanted: float, teacher: ModelResult, student: ModelResult) -> Target:
    speedup = _speedup(teacher, student)
    return Target(
        name="Speed",
        wanted=f"at least {wanted:g} times the teacher's generation speed",
        reached="not timed" if speedup is None else f"{speedup:.2f} times",
        is_met=speedup is not None and speedup >= wanted,
    )


def _kl_target(wanted: float, student: ModelResult, untrained: ModelResult | None) -> Target:
    reached, is_met = "not measured", False
    if untrained and untrained.forward_kl_nats and student.forward_kl_nats:
        before, after = untrained.forward_kl_nats.value, student.forward_kl_nats.value
        # Multiplied, not divided: a student that loses no layer starts at zero.
        is_met = after <= wanted * before
        reached = f"{after:.3g} of {before:.3g} nats"
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
        has_equal_steps = student.num_steps == sft.num_steps
        is_met = has_equal_steps and ours.high < theirs.low
        reached = (
            f"{ours.value:.2f} [{ours.low:.2f}, {ours.high:.2f}] against "
            f"{theirs.value:.2f} [{theirs.low:.2f}, {theirs.high:.2f}]"
        )
        if not has_equal_steps:
            reached += f", after {student.num_steps} and {sft.num_steps} steps"
    return Target(
        name="Better than SFT",
        wanted="held-out KL below the SFT student's at equal steps, intervals apart",
        reached=reached,
        is_met=is_met,
    )


def _looping_target(wanted: float, teacher: ModelResult, student: ModelResult) -> Target:
    ours, theirs = student.looping_fraction.value, teacher.looping_fraction.value
    return Target(
        name="Looping text",
        wanted=f"at most {100 * wanted:g} points more than the teacher",
        reached=f"{100 * ours:.1f} % against the teacher's {100 * theirs:.1f} %",
        is_met=ours - theirs <= wanted + 1e-9,  # 0.15 - 0.10 is above 0.05 in binary
    )


def _before_training(kl: Estimate, untrained: ModelResult | None) -> Iterator[str]:
    if untrained is not None and untrained.forward_kl_nats is not None:
        before = untrained.forward_kl_nats.value
        yield f"{'down' if kl.value < before else 'up'} from {before:.3g} before training"


def _beside_sft(
    student: ModelResult, sft: ModelResult | None, comparisons: Sequence[Comparison]
) -> Iterator[str]:
    if sft is None or sft.forward_kl_nats is None:
        return
    pair = (student.name, sft.name)
    found = next((one for one in comparisons if (one.a, one.b) == pair), None)
    if found is None:
        return
    theirs = f"those of the student trained on text alone ({sft.forward_kl_nats.value:.2f})"
    if found.difference.high < 0:
        yield f"closer than {theirs}"
    elif found.difference.low > 0:
        yield f"farther than {theirs}"
    else:
        yield f"not proven closer or farther than {theirs}"


def _goals_reached(targets: Sequence[Target]) -> Iterator[str]:
    missed = [target.name.lower() for target in targets if not target.is_met]
    if missed:
        yield f"{len(missed)} of {len(targets)} goals missed: {', '.join(missed)}"
    elif targets:
        yield "the goal is met" if len(targets) == 1 else f"all {len(targets)} goals are met"


def _speedup(teacher: ModelResult, student: ModelResult) -> float | None:
    if teacher.generation_tokens_per_s is None or student.generation_tokens_per_s is None:
        return None
    return student.generation_tokens_per_s / teacher.generation_tokens_per_s


def _subject(name: str) -> str:
    return f"The {name}" if name.startswith("student") else f"Student {name}"


def _student(models: Sequence[ModelResult]) -> ModelResult:
    return next(model for model in models if model.role == "student")


def _untrained(models: Sequence[ModelResult]) -> ModelResult | None:
    return next((model for model in models if model.role == "untrained"), None)


def _sft(models: Sequence[ModelResult]) -> ModelResult | None:
    student = _student(models)
    return next((one for one in models if one.objective == "sft" and one is not student), None)
