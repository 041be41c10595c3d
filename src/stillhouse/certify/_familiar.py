"""The gate of a student and the grid of thresholds, both from rows that it was made of.

Neither looks at a calibration row, so that the certificate holds for what they make of it.
Letters: G thresholds.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.artifacts import Artifact
from stillhouse.cascade import Gate, GateConfig, fit_gate, text_states
from stillhouse.certify._rows import CalibrationRows, is_set_aside
from stillhouse.certify._search import fixed_grid, quantile_grid
from stillhouse.classifiers import Classifier
from stillhouse.errors import DataError, IntegrityError
from stillhouse.tasks import input_text

Floats = npt.NDArray[np.float64]

_COLUMNS = ("text_sha256", "confidence")
_FEWEST_CONFIDENCES = 100  # quantiles of fewer are too coarse a grid


@dataclass(frozen=True)
class SetAside:
    """What a student's training set aside.

    Attributes:
        text_hashes: Of the texts; empty where it kept no record.
        confidences: Of its answers to them.
    """

    text_hashes: frozenset[str]
    confidences: tuple[float, ...]

    @classmethod
    def of(cls, student: Artifact) -> "SetAside":
        """By the table `validation` of a fitted student.

        Raises:
            IntegrityError: the table is damaged.
        """
        hashes: list[str] = []
        confidences: list[float] = []
        for entry in student.manifest.files:
            if not entry.name.startswith("validation-"):
                continue
            try:
                table = pq.read_table(
                    student.file(entry.name), columns=["text_sha256", "confidence"]
                )
            except (pa.ArrowException, OSError, ValueError) as err:
                raise IntegrityError(
                    f"{student.path / entry.name} cannot be read ({err}). Fit the student again."
                ) from err
            hashes += table["text_sha256"].to_pylist()
            confidences += table["confidence"].to_pylist()
        return cls(frozenset(hashes), tuple(confidences))

    def grid(self, size: int) -> Floats:
        """(G,) thresholds at quantiles of the confidences, or a fixed grid where they are few."""
        if len(self.confidences) < _FEWEST_CONFIDENCES:
            return fixed_grid(size)
        return quantile_grid(np.clip(self.confidences, 0.0, 1.0), size)


def gate_of(
    classifier: Classifier | None, rows: CalibrationRows, aside: SetAside, config: GateConfig
) -> Gate:
    """The gate of a student: by the states of its encoder, or by hashed n-grams without one.

    Args:
        classifier: The student; None where it is a language model.
        rows: With what the student was made of.
        aside: What it did not learn, on which the gate's threshold is found.
        config: How strict the gate is.

    Raises:
        DataError: there are no training rows, or none was set aside.
    """
    is_aside = is_set_aside(rows.training, aside.text_hashes)
    pairs = list(zip(rows.training, is_aside, strict=True))
    learnt = [row.text for row, is_other in pairs if not is_other]
    others = [row.text for row, is_other in pairs if is_other]
    if not learnt or not others:
        raise DataError(
            f"{len(learnt)} texts were learnt and {len(others)} set aside: no gate can be made of "
            "them. Fit the student on more rows."
        )
    training = None if classifier is None else classifier.states(learnt)
    if classifier is None or training is None:
        inputs_of = partial(input_text, rows.task)
        return fit_gate(
            text_states([*map(inputs_of, learnt)]),
            text_states([*map(inputs_of, others)]),
            reads="texts",
            config=config,
        )
    calibration = classifier.states(others)
    assert calibration is not None  # it has an encoder
    return fit_gate(training, calibration, reads="states", config=config)
