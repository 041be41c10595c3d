"""What certifying showed: in one sentence, as a document, and row by row.

Letters: N rows, G thresholds.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.cascade import CascadeRow, CascadeRule, Gate
from stillhouse.certify._asking import Asked
from stillhouse.certify._rows import CalibrationRows, text_sha256
from stillhouse.certify._search import Calibration
from stillhouse.tasks import Task

Floats = npt.NDArray[np.float64]

_DIGITS = 6
_CURVE_POINTS = 25

ASSUMPTIONS = (
    "New requests are drawn like the rows, independently of each other.",
    "The student, the gate and the rule stay as they are; the teacher answers as it did.",
    "One target was asked for before these rows were looked at.",
)


def sentence(rule: CascadeRule) -> str:
    """The certificate for people, in one line."""
    found = rule.certificate
    coverage = found.coverage
    return (
        f"{100 * found.target:.6g} % agreement certified at {100 * found.confidence:g} % "
        f"confidence: the student answers {coverage.value:.1%} of requests "
        f"[{coverage.low:.1%} to {coverage.high:.1%}], and at most {found.bound:.2%} of all are "
        f"answered unlike the teacher; n = {found.n:,}; threshold {rule.threshold:.4g}"
    )


def certificate_document(
    rule: CascadeRule, gate: Gate, calibration: Calibration, grid_G: Floats
) -> dict[str, Any]:
    """What `certificate.json` holds: the rule, what it rests on, and the curve behind it."""
    return {
        "statement": sentence(rule),
        "rule": rule.model_dump(mode="json"),
        "gate": gate.header.model_dump(mode="json"),
        "assumptions": list(ASSUMPTIONS),
        "curve": list(_curve(calibration, grid_G)),
    }


def manifest_results(rule: CascadeRule, task: Task) -> dict[str, Any]:
    """The certificate in short, for the manifest."""
    found = rule.certificate
    return {
        "task": task.model_dump(mode="json", by_alias=True),
        "statement": sentence(rule),
        "target": found.target,
        "confidence": found.confidence,
        "threshold": round(rule.threshold, _DIGITS),
        "bound": round(found.bound, _DIGITS),
        "coverage": {
            name: round(value, _DIGITS) for name, value in found.coverage.model_dump().items()
        },
        "escalation": round(found.escalation, _DIGITS),
        "n": found.n,
        "method": found.method,
    }


def cascade_rows(
    rows: CalibrationRows, asked: Asked, novelty_N: Floats, rule: CascadeRule
) -> Iterator[CascadeRow]:
    """The rows that were certified on, for the artefact."""
    columns = (asked.given, asked.confidences_N, novelty_N, asked.losses_N)
    for row, given, confidence, novelty, loss in zip(rows.rows, *columns, strict=True):
        known = None if np.isnan(confidence) else float(confidence)
        yield CascadeRow(
            prompt_id=row.prompt_id,
            group=row.group,
            text_sha256=text_sha256(row.text),
            answer=row.answer,
            predicted=given.text,
            confidence=known,
            novelty=float(novelty),
            loss=float(loss),
            route=rule.decide(known, float(novelty)).route,
        )


def _curve(calibration: Calibration, grid_G: Floats) -> Iterator[dict[str, float]]:
    """Coverage and loss at some of the thresholds; none of them but the rule's is certified."""
    places = np.unique(np.linspace(0, len(grid_G) - 1, _CURVE_POINTS).astype(int))
    for threshold in grid_G[places].tolist():
        yield {
            "threshold": round(threshold, _DIGITS),
            "coverage": round(float(calibration.answered_N(threshold).mean()), _DIGITS),
            "loss": round(float(calibration.lost_N(threshold).mean()), _DIGITS),
        }
