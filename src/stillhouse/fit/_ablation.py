"""The student with its repairs, held against the same one without any.

Letters: N rows.
"""

from collections.abc import Sequence
from typing import Any

from stillhouse.fit._results import estimate, fraction
from stillhouse.fit._rows import TaskRows
from stillhouse.statistics import compare_paired_binary


def ablation_results(
    aside: TaskRows, repaired: Sequence[str], as_given: Sequence[str]
) -> dict[str, Any]:
    """Agreement of both with the teacher's answers, paired.

    What is wrong in those answers is wrong for both, so that it takes from the difference but does
    not turn it round.

    Args:
        aside: N rows that neither learnt from, with the teacher's answers.
        repaired: What the student of repaired answers says.
        as_given: What the other one says.
    """
    with_N = [guess == answer for guess, answer in zip(repaired, aside.answers, strict=True)]
    without_N = [guess == answer for guess, answer in zip(as_given, aside.answers, strict=True)]
    clusters = aside.units
    compared = compare_paired_binary(with_N, without_N, margin=aside.task.margin, clusters=clusters)
    return {
        "repaired": estimate(fraction(with_N, clusters)),
        "as_given": estimate(fraction(without_N, clusters)),
        "difference": estimate(compared.difference),
        "margin": compared.margin,
        "verdict": compared.verdict,
        "sentence": compared.sentence(
            "the student of repaired answers", "the one of answers as given"
        ),
    }
