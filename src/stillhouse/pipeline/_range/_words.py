"""A range in sentences."""

from collections.abc import Sequence

from stillhouse.pipeline._range._config import RangeConfig
from stillhouse.pipeline._range._results import Detection, FieldResult, RangeRow

_DECOY_SLACK = 3.0  # standard errors of the decoys' mean z


def verdict_text(fields: Sequence[FieldResult], level: float) -> str:
    """What a reader can repeat."""
    rows = [row for field in fields for row in field.rows]
    tested = [row for row in rows if row.detection.log10_p is not None]
    found = [row for row in tested if is_found(row.detection, level)]
    defended = [row for row in rows if row.detection.reason != "no defence"]
    missed = [row for row in defended if not is_found(row.detection, level)]
    if not tested:
        first = "No defence here leaves the owner anything to test"
    else:
        first = (
            f"{len(found)} of {len(tested)} copies that a defence lets the owner test are found "
            f"at p {level:g} or less"
        )
    if not missed:
        return f"{first}."
    best = max(missed, key=lambda row: row.quality.gap_closed.value)
    return (
        f"{first}; of those that no test finds, the best closes "
        f"{best.quality.gap_closed.value:.0%} of the gap to its teacher ({best.field}: "
        f"{best.defence} against {best.attack})."
    )


def is_found(detection: Detection, level: float) -> bool:
    """Whether the test that the defence gives is at or below the level."""
    from math import log10

    return detection.log10_p is not None and detection.log10_p <= log10(level)


def notes_text(fields: Sequence[FieldResult], config: RangeConfig) -> tuple[str, ...]:
    """What a reader must know of these numbers."""
    notes = []
    if missing := [name for name in config.fields if name not in {one.name for one in fields}]:
        notes.append(f"Not finished: {', '.join(missing)} is not in yet. The same command goes on.")
    for field in fields:
        for row in _with_same_student(field.rows):
            names = ", ".join(f"{one.defence} against {one.attack}" for one in row)
            notes.append(f"{field.name}: one and the same student is behind {names}.")
        for control in field.controls:
            if control.trace.log10_p <= -3:
                notes.append(
                    f"{field.name}: a student of unmarked answers ({control.attack}) came out at "
                    f"log10 p {control.trace.log10_p:.1f} under the mark of {control.defence}, "
                    "which no innocent model should. Do not trust these tests."
                )
        for row_ in field.rows:
            trace = row_.detection.trace
            if trace is None or trace.decoy_z_mean is None or not config.decoys:
                continue
            if abs(trace.decoy_z_mean) > _DECOY_SLACK / config.decoys**0.5:
                notes.append(
                    f"{field.name}: under keys that nobody used, the test of {row_.defence} "
                    f"against {row_.attack} has mean z {trace.decoy_z_mean:.2f}, not 0."
                )
    notes.append(
        "One student stands behind each point. Intervals are over held-out prompts; another seed, "
        "or other prompts to learn from, would give another student, which they do not show."
    )
    return tuple(notes)


def _with_same_student(rows: Sequence[RangeRow]) -> list[list[RangeRow]]:
    by_student: dict[str, list[RangeRow]] = {}
    for row in rows:
        by_student.setdefault(row.student_sha256, []).append(row)
    return [some for some in by_student.values() if len(some) > 1]
