"""From what was measured to the results: comparisons, the choice, the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from stillhouse.evaluate._service_records import ServiceSummary
from stillhouse.evaluate._task._assumptions import assumptions, warnings
from stillhouse.evaluate._task._choice import Choice, choose
from stillhouse.evaluate._task._comparing import compare_all, compare_with_itself
from stillhouse.evaluate._task._failures import failures_of
from stillhouse.evaluate._task._measure._analysis import TEACHER, Analyst
from stillhouse.evaluate._task._measure._costs import break_even, fixed_cost
from stillhouse.evaluate._task._measure._measured import Measured
from stillhouse.evaluate._task._measure._scores import Scored
from stillhouse.evaluate._task._measure._self_agreement import (
    HOW_TO_MEASURE,
    Repeated,
    repeated_answers,
)
from stillhouse.evaluate._task._records import (
    BreakEven,
    LearningPoint,
    SelfAgreement,
    SystemResult,
    TaskComparison,
)
from stillhouse.evaluate._task._results import (
    ContaminationFacts,
    CountFacts,
    Recommendation,
    TaskFacts,
    TaskResults,
)
from stillhouse.evaluate._task._validation import ValidationRows
from stillhouse.evaluate._task._verdict import Found, verdict_sentence
from stillhouse.graders import agreement_grader, grader_of
from stillhouse.tasks import Task


@dataclass(frozen=True)
class Inputs:
    """What conclusions are drawn from, beside the measurements.

    Attributes:
        title: Of the report.
        counts: Messages and answers.
        contamination: As curation found it.
        learning_curve: Given from elsewhere.
        missing: Systems that could not be shown, with the reason.
        validation: By student, its answers to rows that it did not learn from.
        started_s: On the clock of `time.monotonic`.
        service: How the student before did, where its log was given.
    """

    title: str
    counts: CountFacts
    contamination: ContaminationFacts
    learning_curve: tuple[LearningPoint, ...]
    missing: dict[str, str]
    validation: dict[str, ValidationRows]
    started_s: float
    service: ServiceSummary | None = None


def conclude(analyst: Analyst, measured: Sequence[Measured], inputs: Inputs) -> TaskResults:
    """The results of an evaluation."""
    held_out, config = analyst.held_out, analyst.config
    systems = [analyst.teacher_result(), *(analyst.result(one) for one in measured)]
    scored = {TEACHER: analyst.teacher, **{one.facts.name: one.scored for one in measured}}
    students = [one for one in systems if one.role == "student"]
    choice = choose(students, inputs.validation, held_out.task.margin, wanted=config.student)
    comparisons = compare_all(held_out, systems, scored, choice, seed=config.seed)
    repeated = repeated_answers(held_out)
    if repeated is not None:
        of_student = scored[choice.student]
        itself = compare_with_itself(
            held_out, repeated, choice.student, of_student, seed=config.seed
        )
        comparisons = (*comparisons, itself)
    facts = _task_facts(held_out.task)
    failures, rule = failures_of(held_out, scored[choice.student], config.num_failures)
    return TaskResults(
        title=inputs.title,
        verdict=_verdict(facts, systems, choice, comparisons, inputs.contamination),
        warnings=warnings(held_out, inputs.contamination, systems),
        task=facts,
        counts=inputs.counts,
        recommendation=_recommendation(choice, comparisons),
        systems=tuple(systems),
        comparisons=comparisons,
        missing=inputs.missing,
        self_agreement=_self_agreement(analyst, repeated, scored[choice.student]),
        contamination=inputs.contamination,
        break_even=_break_even(analyst, systems),
        learning_curve=inputs.learning_curve,
        service=inputs.service,
        failures=failures,
        failure_rule=rule,
        assumptions=assumptions(config, analyst.calls, systems),
        created_utc=datetime.now(UTC),
        seconds=monotonic() - inputs.started_s,
    )


def _task_facts(task: Task) -> TaskFacts:
    return TaskFacts(
        name=task.name,
        kind=task.kind,
        grader=task.grader_name,
        is_binary=grader_of(task).is_binary,
        margin=task.margin,
        num_labels=len(task.labels) or None,
        is_multiple=task.multiple,
    )


def _verdict(
    facts: TaskFacts,
    systems: Sequence[SystemResult],
    choice: Choice,
    comparisons: Sequence[TaskComparison],
    contamination: ContaminationFacts,
) -> str:
    by_name = {one.name: one for one in systems}
    student, teacher = by_name[choice.student], by_name[TEACHER]
    assert student.agreement is not None  # only the teacher has none
    has_scores = student.gold is not None and teacher.gold is not None
    found = Found(
        student=student.name,
        task=facts,
        agreement=student.agreement,
        scores=(student.gold, teacher.gold) if student.gold and teacher.gold else None,
        against_teacher=_first(comparisons, "teacher", student.name) if has_scores else None,
        against_itself=_first(comparisons, "self_agreement", student.name),
        latency_s=student.latency.median_s.value if student.latency else None,
        num_seen=contamination.num_left,
    )
    return verdict_sentence(found)


def _recommendation(choice: Choice, comparisons: Sequence[TaskComparison]) -> Recommendation:
    confirming = _first(comparisons, "confirmation", choice.student)
    is_confirmed = None
    if confirming is not None:
        is_confirmed = confirming.verdict in ("better", "non_inferior")
    return Recommendation(
        student=choice.student, rule=choice.rule, best=choice.best, is_confirmed=is_confirmed
    )


def _self_agreement(analyst: Analyst, repeated: Repeated | None, student: Scored) -> SelfAgreement:
    if repeated is None:
        return SelfAgreement(agreement=None, why_not=HOW_TO_MEASURE)
    held_out = analyst.held_out
    grader = agreement_grader(held_out.task)
    among = analyst.estimator_of(repeated.places)
    return SelfAgreement(
        agreement=among.mean(repeated.scores_P, is_binary=False),
        student_agreement=among.mean(repeated.of_student(student, grader.score), is_binary=False),
    )


def _break_even(analyst: Analyst, systems: Sequence[SystemResult]) -> dict[str, BreakEven]:
    teacher = systems[0].usd_per_1000
    found: dict[str, BreakEven] = {}
    for one in systems:
        if one.role != "student":
            continue
        fixed_usd = fixed_cost(analyst.calls, one.training_usd or 0.0, analyst.config)
        even = break_even(fixed_usd, teacher, one.usd_per_1000)
        if even is not None:
            found[one.name] = even
    return found


def _first(
    comparisons: Sequence[TaskComparison], family: str, student: str
) -> TaskComparison | None:
    return next((one for one in comparisons if (one.family, one.a) == (family, student)), None)
