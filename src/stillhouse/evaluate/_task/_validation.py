"""What students' trainings found on rows that they set aside, row by row.

Such rows are the same for all students of a dataset, so that two students can be compared on them
before any held-out message is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError
from stillhouse.records import unit_of
from stillhouse.statistics import Verdict, compare_paired_binary

_COLUMNS = ("prompt_id", "group", "answer", "predicted")
_MIN_ROWS = 20


@dataclass(frozen=True)
class ValidationRows:
    """A student's answers to rows that it did not learn from.

    Attributes:
        agrees: By prompt, whether it gave the teacher's answer.
        groups: By prompt, what it belongs to.
    """

    agrees: Mapping[str, bool]
    groups: Mapping[str, str]


def read_validation(artifact: Artifact) -> ValidationRows:
    """The rows in the table `validation` of a fitted student; none where it has no such table.

    Raises:
        IntegrityError: the table is damaged.
    """
    agrees: dict[str, bool] = {}
    groups: dict[str, str] = {}
    for entry in artifact.manifest.files:
        if not entry.name.startswith("validation-"):
            continue
        try:
            rows = pq.read_table(artifact.file(entry.name), columns=list(_COLUMNS)).to_pylist()
        except (pa.ArrowException, OSError, ValueError) as err:
            raise IntegrityError(
                f"{artifact.path / entry.name} cannot be read ({err}). Fit the student again."
            ) from err
        for row in rows:
            agrees[row["prompt_id"]] = row["answer"] == row["predicted"]
            groups[row["prompt_id"]] = unit_of(row["prompt_id"], row["group"])
    return ValidationRows(agrees, groups)


def compare_on_validation(a: ValidationRows, b: ValidationRows, margin: float) -> Verdict | None:
    """The verdict on `a` against `b` on the rows that both set aside; None where they are too few.

    Args:
        a: The one that the verdict is about.
        b: The other.
        margin: Tolerated loss of agreement with the teacher.
    """
    common = sorted(a.agrees.keys() & b.agrees.keys())
    if len(common) < _MIN_ROWS:
        return None
    return compare_paired_binary(
        np.array([a.agrees[name] for name in common], dtype=np.float64),
        np.array([b.agrees[name] for name in common], dtype=np.float64),
        margin=margin,
        clusters=np.array([a.groups[name] for name in common]),
    ).verdict
