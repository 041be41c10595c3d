"""Labels one by one: which a student misses, and what it takes them for."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._estimates import Estimator
from stillhouse.evaluate._task._records import ConfusedPair, LabelCount, LabelResult
from stillhouse.tasks import Task, answer_labels

NO_ANSWER = "(no valid answer)"
_MIN_ROWS = 5  # of a label's messages, below which its recall says nothing


def label_counts(held_out: HeldOut, answers: Sequence[str | None]) -> tuple[LabelCount, ...]:
    """All labels in the order of the task: how often the teacher, and how often both give them."""
    by_teacher: Counter[str] = Counter()
    by_both: Counter[str] = Counter()
    for row, answer in zip(held_out.rows, answers, strict=True):
        if row.answer is None:
            continue
        teacher = answer_labels(held_out.task, row.answer)
        given = _labels(held_out.task, answer)
        by_teacher.update(teacher)
        by_both.update(label for label in teacher if label in given)
    return tuple(
        LabelCount(label=label, n=by_teacher[label], same=by_both[label])
        for label in held_out.task.labels
    )


def worst_labels(
    held_out: HeldOut, answers: Sequence[str | None], estimator: Estimator, *, wanted: int
) -> tuple[LabelResult, ...]:
    """The labels with the lowest recall, of those that the teacher gave five times or more."""
    counts = [one for one in label_counts(held_out, answers) if one.n >= _MIN_ROWS]
    counts.sort(key=lambda one: (one.same / one.n, one.label))
    results = []
    for count in counts[:wanted]:
        flags = [
            (
                row.answer is not None and count.label in answer_labels(held_out.task, row.answer),
                count.label in _labels(held_out.task, answer),
            )
            for row, answer in zip(held_out.rows, answers, strict=True)
        ]
        of_N, is_given_N = np.array(flags, dtype=np.bool_).T
        recall = estimator.mean(is_given_N, is_binary=True, of_N=of_N)
        assert recall is not None  # the teacher gave it
        results.append(LabelResult(label=count.label, recall=recall))
    return tuple(results)


def confused_pairs(
    held_out: HeldOut, answers: Sequence[str | None], *, wanted: int
) -> tuple[ConfusedPair, ...]:
    """Pairs of a teacher's label and another that the student gave, the most frequent first.

    Empty where messages may have several labels: nothing says which was given in place of which.
    """
    if held_out.task.multiple:
        return ()
    teacher = Counter(row.answer for row in held_out.rows if row.answer is not None)
    pairs = Counter(
        (row.answer, answer or NO_ANSWER)
        for row, answer in zip(held_out.rows, answers, strict=True)
        if row.answer is not None and answer != row.answer
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        ConfusedPair(teacher=one, student=other, count=times, n=teacher[one])
        for (one, other), times in ranked[:wanted]
    )


def _labels(task: Task, answer: str | None) -> tuple[str, ...]:
    return () if answer is None else answer_labels(task, answer)
