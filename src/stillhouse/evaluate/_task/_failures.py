"""Answers that went wrong, chosen by rule."""

from stillhouse.evaluate._task._held_out import HeldOut, first_by_hash
from stillhouse.evaluate._task._measure._scores import Scored
from stillhouse.evaluate._task._records import FailureRow

_RIGHT = 1.0 - 1e-9


def failures_of(
    held_out: HeldOut, scored: Scored, wanted: int
) -> tuple[tuple[FailureRow, ...], str]:
    """Messages whose answer is not the teacher's, and the rule by which they were chosen.

    Args:
        held_out: The messages.
        scored: What a student made of them.
        wanted: How many, at most.
    """
    places = {
        row.prompt_id: place
        for place, row in enumerate(held_out.rows)
        if row.answer is not None and scored.agreement_N[place] < _RIGHT
    }
    unlike = [row for row in held_out.rows if row.prompt_id in places]
    rows = []
    for row in first_by_hash(unlike, wanted):
        given = scored.given[places[row.prompt_id]]
        confidence = None if given.confidence is None else min(max(given.confidence, 0.0), 1.0)
        rows.append(
            FailureRow(
                prompt_id=row.prompt_id,
                text=row.text,
                teacher=row.answer or "",
                student=given.text,
                problem=given.problem if given.text is None else None,
                confidence=confidence,
                reference=row.reference,
            )
        )
    rule = (
        f"of the {len(unlike):,} messages that it answers unlike the teacher, the first "
        f"{len(rows):,} by the SHA-256 of their ids."
    )
    return tuple(rows), rule
