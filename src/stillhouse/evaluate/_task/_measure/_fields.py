"""Extractions field by field.

Letters: N messages.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._estimates import Estimator
from stillhouse.evaluate._task._records import FieldResult, TaskEstimate
from stillhouse.graders import GRADERS, compare_fields

Flags = npt.NDArray[np.bool_]

_MAX_FIELDS = 40  # a schema with more is a table of its own
_NOTHING = "{}"


def field_results(
    held_out: HeldOut, answers: Sequence[str | None], estimator: Estimator
) -> tuple[FieldResult, ...]:
    """Each field: how often it is what the teacher, or a person, says, in the order of its name.

    A field counts where one of the two has it. An answer that the schema does not allow has none.
    """
    teacher = _by_path(answers, [row.answer for row in held_out.rows])
    gold = _by_path(answers, [row.reference for row in held_out.rows])
    paths = sorted({*teacher, *gold}, key=lambda path: (-_number(path, teacher, gold), path))
    return tuple(
        FieldResult(
            field=path.removeprefix("$."),
            agreement=_share(teacher.get(path), estimator),
            gold=_share(gold.get(path), estimator),
        )
        for path in sorted(paths[:_MAX_FIELDS])
    )


def document_result(
    held_out: HeldOut, answers: Sequence[str | None], estimator: Estimator
) -> FieldResult:
    """How often all fields are right at once."""
    columns = {}
    for name, expected in (
        ("agreement", [row.answer for row in held_out.rows]),
        ("gold", [row.reference for row in held_out.rows]),
    ):
        flags = document_flags(answers, expected)
        has_N = np.array([wanted is not None for wanted in expected])
        columns[name] = estimator.mean(flags, is_binary=True, of_N=has_N)
    return FieldResult(field="whole document", **columns)


def document_flags(answers: Sequence[str | None], expected: Sequence[str | None]) -> Flags:
    """(N,) whether each answer is right in all fields; False where nothing is expected."""
    document = GRADERS["document"].score
    return np.array(
        [
            answer is not None and wanted is not None and document(answer, wanted) == 1.0
            for answer, wanted in zip(answers, expected, strict=True)
        ]
    )


def _by_path(
    answers: Sequence[str | None], expected: Sequence[str | None]
) -> dict[str, tuple[Flags, Flags]]:
    """By field: (N,) where one of both has it, and (N,) whether it is equal."""
    found: dict[str, tuple[Flags, Flags]] = {}
    for place, (answer, wanted) in enumerate(zip(answers, expected, strict=True)):
        if wanted is None:
            continue
        for path, counts in compare_fields(answer or _NOTHING, wanted).items():
            if path not in found:
                none = np.zeros(len(answers), dtype=np.bool_)
                found[path] = (none, none.copy())
            found[path][0][place] = True
            found[path][1][place] = counts.num_extra == counts.num_missing == 0
    return found


def _number(path: str, *columns: dict[str, tuple[Flags, Flags]]) -> int:
    return max(int(column[path][0].sum()) for column in columns if path in column)


def _share(flags: tuple[Flags, Flags] | None, estimator: Estimator) -> TaskEstimate | None:
    if flags is None:
        return None
    has_N, is_equal_N = flags
    return estimator.mean(is_equal_N, is_binary=True, of_N=has_N)
