"""What a user should know about a student, one line each."""

from collections import Counter
from typing import Any

from stillhouse.fit._calibrate import Calibrated

JUDGED_WRONG = "judged_wrong"
"""Why rows are dropped whose answers were found wrong."""

_MANY_DROPPED = 0.05
_FEW_ASIDE = 100


def warnings_of(
    made: Calibrated, *, num_aside: int, num_kept: int, dropped: Counter[str], noise: dict[str, Any]
) -> list[str]:
    """Warnings of the student's own, and about the rows that it was made from.

    Args:
        made: The student.
        num_aside: Rows that were set aside.
        num_kept: All rows that were used.
        dropped: Others, by reason.
        noise: What was found about the answers.
    """
    lines = list(made.classifier.report.warnings)
    lost = sum(times for reason, times in dropped.items() if reason != JUDGED_WRONG)
    if lost > _MANY_DROPPED * (num_kept + lost):
        reasons = ", ".join(f"{reason} {times:,}" for reason, times in dropped.most_common())
        lines.append(f"{lost:,} of {num_kept + lost:,} training rows were dropped ({reasons}).")
    if made.unseen_NL is None:
        lines.append(
            f"Only {num_aside:,} rows were set aside: too few to calibrate on, so confidences are "
            "those of the fit. Collect more, or raise validation_fraction."
        )
    elif num_aside < _FEW_ASIDE:
        lines.append(
            f"Only {num_aside:,} rows were set aside, so what was measured on them is rough. "
            "Collect more, or raise validation_fraction."
        )
    if noise["applied"] is not None:
        lines.append(
            f"{noise['repaired']:,} training answers were judged wrong ({noise['why']}); they are "
            "in the rows 'repairs'. Agreement with the answers as given is bounded by that."
        )
    return lines
