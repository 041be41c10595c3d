"""The evaluation in one sentence, which claims no more than its intervals do."""

from collections.abc import Iterator
from dataclasses import dataclass

from stillhouse.evaluate._task._records import TaskComparison, TaskEstimate
from stillhouse.evaluate._task._results import TaskFacts
from stillhouse.pages import MINUS, decimals_of, duration, fixed, significant


@dataclass(frozen=True)
class Found:
    """What was found about the recommended student.

    Attributes:
        student: Its name.
        task: What it was to do.
        agreement: With the teacher.
        scores: Of the student and of the teacher on right answers, where there are any.
        against_teacher: The two on right answers.
        against_itself: The student's agreement with one answer of the teacher, against that of
            another answer of the teacher.
        latency_s: Median time of an answer.
        num_seen: Held-out messages that training has seen, as far as known.
    """

    student: str
    task: TaskFacts
    agreement: TaskEstimate
    scores: tuple[TaskEstimate, TaskEstimate] | None = None
    against_teacher: TaskComparison | None = None
    against_itself: TaskComparison | None = None
    latency_s: float | None = None
    num_seen: int = 0


def verdict_sentence(found: Found) -> str:
    """What may be said of the student: of right answers where there are any, else of agreement."""
    return "; ".join(_parts(found)) + "."


def points(value: float, decimals: int) -> str:
    """A difference of scores in points, with its sign."""
    text = fixed(100 * value, decimals)
    return text if text.startswith(MINUS) or not text.strip("0.") else f"+{text}"


def difference_words(comparison: TaskComparison) -> str:
    """`difference +0.3 points, 95 % interval -0.9 to +1.5`."""
    shown = comparison.difference
    decimals = max(decimals_of(shown, 100.0), 1)
    low, high = points(shown.low, decimals), points(shown.high, decimals)
    return f"difference {points(shown.value, decimals)} points, 95 % interval {low} to {high}"


def needed_words(comparison: TaskComparison) -> str:
    """What an inconclusive comparison lacks."""
    if comparison.n_needed is None:
        return "more messages would not show it, as the estimate itself lies beyond the margin"
    step = 10 ** max(len(str(comparison.n_needed)) - 3, 0)
    about = -(-comparison.n_needed // step) * step  # three digits, rounded up
    return f"about n = {about:,} would settle it, were all else as observed"


def _parts(found: Found) -> Iterator[str]:
    subject = f"The {found.student}" if found.student.startswith("student") else found.student
    if found.against_teacher is not None and found.scores is not None:
        yield f"{_claim(subject, found.against_teacher)}: {_scores(found, found.scores)}"
        if found.against_teacher.verdict == "inconclusive":
            yield needed_words(found.against_teacher)
        yield f"it {_agreement(found)}"
    else:
        interval = f"95 % interval {_interval(found.agreement)}"
        yield f"{subject} {_agreement(found, f'{found.agreement.n:,} held-out ')} ({interval})"
        if found.against_itself is not None:
            yield _again(found.against_itself)
        yield "whether either is right is not known, as there are no right answers"
    if found.num_seen:
        yield f"{found.num_seen:,} of the messages were in its training data, which flatters it"
    elif found.latency_s is not None:
        yield f"one answer takes {duration_words(found.latency_s)}"


def duration_words(seconds: float) -> str:
    """Milliseconds below a second, as people say latencies."""
    if seconds >= 0.995:
        return duration(seconds)
    return f"{significant(1000 * seconds, 2)} ms"


def _claim(subject: str, comparison: TaskComparison) -> str:
    margin = f"{100 * comparison.margin:g} points"
    return {
        "better": f"{subject} is better than the teacher",
        "non_inferior": f"{subject} is not inferior to the teacher at a margin of {margin}",
        "inconclusive": f"Not proven that {subject} is within {margin} of the teacher",
        "worse": f"{subject} is worse than the teacher",
    }[comparison.verdict]


def _scores(found: Found, scores: tuple[TaskEstimate, TaskEstimate]) -> str:
    student, teacher = scores
    assert found.against_teacher is not None  # comes with the scores
    difference = difference_words(found.against_teacher)
    if found.task.is_binary:
        return (
            f"right on {_share(student)} of {student.n:,} held-out messages against "
            f"{_share(teacher)} ({difference})"
        )
    return (
        f"it scores {_share(student)} on {student.n:,} held-out messages against "
        f"{_share(teacher)} ({difference})"
    )


def _agreement(found: Found, which: str = "") -> str:
    share = _share(found.agreement)
    if found.task.is_binary:
        return f"gives the teacher's answer on {share} of {which or 'the '}messages"
    where = f" on {which}messages" if which else ""
    return f"agrees with the teacher to {share} by the {found.task.grader} score{where}"


def _again(comparison: TaskComparison) -> str:
    words = {
        "better": "more often than the teacher gives an answer of its own again",
        "non_inferior": "as often as the teacher gives an answer of its own again, within "
        f"{100 * comparison.margin:g} points",
        "inconclusive": "not proven to be as often as the teacher gives an answer of its own again",
        "worse": "less often than the teacher gives an answer of its own again",
    }[comparison.verdict]
    return f"{words} ({difference_words(comparison)})"


def _share(one: TaskEstimate) -> str:
    return f"{fixed(100 * one.value, max(decimals_of(one, 100.0), 1))} %"


def _interval(one: TaskEstimate) -> str:
    decimals = max(decimals_of(one, 100.0), 1)
    return f"{fixed(100 * one.low, decimals)} to {fixed(100 * one.high, decimals)} %"
