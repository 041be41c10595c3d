"""From probabilities of labels to answers.

Letters: N texts, L labels.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.tasks._labels import LABEL_SEPARATOR
from stillhouse.tasks._parse import Answer, parse_answer
from stillhouse.tasks._task import Task

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_YES = 0.5
_NO_LABEL = "[]"


def likeliest_answers(
    task: Task, probabilities_NL: Floats, labels: Sequence[str]
) -> tuple[list[Answer], Floats]:
    """The answers that probabilities stand for, and how probable each is.

    Args:
        task: A classification.
        probabilities_NL: (N, L); rows sum to 1 unless the task has several labels.
        labels: L names of the columns.

    Returns:
        The likeliest label, or all from one half on where the task has several, and (N,)
        probabilities of these very answers.
    """
    if not task.multiple:
        best_N = probabilities_NL.argmax(axis=1)
        return [Answer(labels[best]) for best in best_N], probabilities_NL.max(axis=1)
    is_given_NL = probabilities_NL >= _YES
    confidences_N = np.where(is_given_NL, probabilities_NL, 1.0 - probabilities_NL).prod(axis=1)
    return [_several(task, is_given_L, labels) for is_given_L in is_given_NL], confidences_N


def _several(task: Task, is_given_L: Flags, labels: Sequence[str]) -> Answer:
    named = [label for label, is_given in zip(labels, is_given_L, strict=True) if is_given]
    if len(named) > 1 and task.out_of_scope in named:
        named.remove(str(task.out_of_scope))
    # Parsed, so that no label, or labels in another order, read as the teacher's answer does.
    return parse_answer(task, LABEL_SEPARATOR.join(named) or _NO_LABEL)
