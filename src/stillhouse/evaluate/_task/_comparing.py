"""Which systems are held against which, and on what."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from stillhouse.evaluate._task._choice import Choice
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._analysis import TEACHER
from stillhouse.evaluate._task._measure._compare import Comparer, Pair
from stillhouse.evaluate._task._measure._scores import Floats, Scored
from stillhouse.evaluate._task._measure._self_agreement import Repeated
from stillhouse.evaluate._task._records import Metric, SystemResult, TaskComparison
from stillhouse.graders import agreement_grader, grader_of


def compare_all(
    held_out: HeldOut,
    systems: Sequence[SystemResult],
    scored: Mapping[str, Scored],
    choice: Choice,
    *,
    seed: int,
) -> tuple[TaskComparison, ...]:
    """All comparisons that the report rests on.

    The recommended student was chosen without the held-out messages, so its comparison with the
    teacher, and with the best student, stands alone; all others are corrected with their family.

    Args:
        held_out: The messages.
        systems: All, the teacher among them.
        scored: By name, the answers of each, the teacher among them.
        choice: The recommended student.
        seed: Of bootstraps.
    """
    students = [one.name for one in systems if one.role == "student"]
    students.sort(key=lambda name: name != choice.student)  # the recommended one first
    baselines = [one.name for one in systems if one.role not in ("teacher", "student")]
    comparisons: list[TaskComparison] = []
    metrics: list[Metric] = ["gold", "agreement"] if held_out.has_gold_N.any() else ["agreement"]
    for metric in metrics:
        comparer = comparer_of(held_out, metric, seed=seed)

        def pair(a: str, b: str, metric: Metric = metric) -> Pair:
            return Pair(a, b, scores_of(scored[a], metric), scores_of(scored[b], metric))

        if metric == "gold":
            primary, *others = [pair(name, TEACHER) for name in students]
            comparisons += comparer.family("teacher", metric, [primary])
            comparisons += comparer.family("teacher", metric, others)
        against = [pair(name, other) for name in students for other in baselines]
        comparisons += comparer.family("baselines", metric, against)
        among = [pair(one, other) for one, other in combinations(students, 2)]
        comparisons += comparer.family("students", metric, among)
        if metric == "agreement" and choice.best not in (None, choice.student):
            confirming = [pair(choice.student, str(choice.best))]
            comparisons += comparer.family("confirmation", metric, confirming)
    return tuple(comparisons)


def compare_with_itself(
    held_out: HeldOut, repeated: Repeated, student: str, scored: Scored, *, seed: int
) -> TaskComparison:
    """The student's agreement with one answer of the teacher against another answer's."""
    grader = agreement_grader(held_out.task)
    comparer = Comparer(
        clusters_N=held_out.clusters_N[list(repeated.places)],
        margin=held_out.task.margin,
        is_binary=False,  # shares of several answers
        seed=seed,
    )
    pair = Pair(student, TEACHER, repeated.of_student(scored, grader.score), repeated.scores_P)
    (found,) = comparer.family("self_agreement", "agreement", [pair])
    return found


def comparer_of(held_out: HeldOut, metric: Metric, *, seed: int) -> Comparer:
    """Compares scores of one metric under the margin of the task."""
    grader = (grader_of if metric == "gold" else agreement_grader)(held_out.task)
    return Comparer(
        clusters_N=held_out.clusters_N,
        margin=held_out.task.margin,
        is_binary=grader.is_binary,
        seed=seed,
    )


def scores_of(scored: Scored, metric: Metric) -> Floats:
    """(N,) scores by the metric, NaN where a message has none."""
    return scored.gold_N if metric == "gold" else scored.agreement_N
