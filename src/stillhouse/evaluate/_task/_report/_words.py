"""How the report calls things, and in which colours it draws them."""

from stillhouse.evaluate._task._records import (
    AnsweredBy,
    Method,
    Metric,
    SystemResult,
    SystemRole,
    TaskEstimate,
)
from stillhouse.evaluate._task._results import TaskFacts, TaskResults
from stillhouse.pages import TIMES, decimals_of, fixed, significant
from stillhouse.statistics import Verdict

NBSP = "\N{NO-BREAK SPACE}"
PER_CENT = f"{NBSP}%"

METHODS: dict[Method, str] = {
    "wilson": "Wilson",
    "score": "Tango",
    "exact": "exact",
    "bootstrap": "bootstrap",
    "bounds": "by the bounds of the score",
    "order_statistics": "order statistics",
    "formula": "closed form",
    "price": "a given price",
}
VERDICTS: dict[Verdict, str] = {
    "better": "better",
    "non_inferior": "not inferior",
    "inconclusive": "inconclusive",
    "worse": "worse",
}
ROLES: dict[SystemRole, str] = {
    "teacher": "",
    "student": "student",
    "majority": "always the most frequent answer",
    "copy": "gives the message back",
    "ngram": "linear model on n-grams, fitted here",
    "base": "before any training",
}
ANSWERED_BY: dict[AnsweredBy, str] = {
    "recorded": "as recorded",
    "constant": "without a model",
    "classifier": "head over labels",
    "names": "nearest label name",
    "label_trie": "probabilities of all labels",
    "constrained_labels": "held to the labels",
    "json": "held to the schema",
    "text": "writes freely",
}
_NUM_STUDENT_COLORS = 6


def quality_name(facts: TaskFacts, metric: Metric) -> str:
    """What the score is called on the page."""
    if metric == "agreement":
        return "Same answer as the teacher" if facts.is_binary else "Agreement with the teacher"
    return "Right answers" if facts.is_binary else "Score on right answers"


def system_colors(results: TaskResults) -> dict[str, str]:
    """The colour class of each system: the recommended student's is always the same."""
    students = sorted(
        (one.name for one in results.students), key=lambda name: name != results.student.name
    )
    colors = {}
    for one in results.systems:
        if one.role == "student":
            number = students.index(one.name) % _NUM_STUDENT_COLORS + 1
            colors[one.name] = "c-student" if number == 1 else f"c-student-{number}"
        else:
            colors[one.name] = "c-teacher" if one.role == "teacher" else "c-untrained"
    return colors


def share(one: TaskEstimate, value: float | None = None) -> str:
    """The value, or another number with its decimals, in percent."""
    return fixed(100 * (one.value if value is None else value), share_decimals(one)) + PER_CENT


def share_interval(one: TaskEstimate) -> str:
    """`74.6 to 77.6 %`."""
    decimals = share_decimals(one)
    return f"{fixed(100 * one.low, decimals)} to {fixed(100 * one.high, decimals)}{PER_CENT}"


def share_decimals(one: TaskEstimate) -> int:
    """One, since systems are often within a point of each other; none where all is in doubt."""
    return min(decimals_of(one, 100.0), 1) if one.high - one.low > 0.6 else 1


def size_words(one: TaskEstimate) -> str:
    """`n = 3,075`, with the groups where there are any."""
    words = f"n{NBSP}={NBSP}{one.n:,}"
    return words if one.num_clusters == one.n else f"{words} in {one.num_clusters:,} groups"


def basis(one: TaskEstimate) -> str:
    """`n = 3,075, Wilson`: what a figure rests on."""
    return f"{size_words(one)}, {METHODS[one.method]}"


def milliseconds(seconds: float) -> str:
    """`1.9 ms`, `1.2 s`."""
    if seconds >= 0.9995:
        return f"{significant(seconds, 3)}{NBSP}s"
    return f"{significant(1000 * seconds, 3)}{NBSP}ms"


def dollars(usd: float) -> str:
    """Dollars with two or three significant digits, however few."""
    if usd == 0:
        return "$0"
    return f"${usd:,.2f}" if usd >= 0.995 else f"${significant(usd, 3 if usd >= 0.00995 else 2)}"


def multiple(ratio: float) -> str:
    """`4,200x`, with the real sign: two digits of a ratio are all that matters."""
    return f"{float(f'{ratio:.1e}'):,.12g}{TIMES}"


def who(one: SystemResult) -> str:
    """How a sentence calls a system."""
    named = {
        "teacher": "the teacher",
        "majority": "the most frequent answer",
        "copy": "a copy of the message",
        "ngram": "the n-gram baseline",
    }
    if one.role == "base":
        return f"the {one.name}"
    return named.get(one.role, one.name)
