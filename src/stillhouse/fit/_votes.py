"""What several teachers answered, settled by how reliable each of them is.

Letters: N rows, L labels, T teachers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillhouse.errors import ConfigError
from stillhouse.fit._committee import dawid_skene
from stillhouse.fit._rows import Floats, TaskRows
from stillhouse.tasks import answer_labels


@dataclass(frozen=True)
class Settlement:
    """What several teachers are probably right about.

    Attributes:
        posterior_NL: (N, L) probability of each label to be right.
        reliability: By teacher, the fraction of its answers that are expected to be right; where a
            text may have several labels, of its yes and no to each.
        num_disputed: Rows on which the teachers' own answers differ.
    """

    posterior_NL: Floats
    reliability: dict[str, float]
    num_disputed: int


def teachers_of(rows: TaskRows) -> list[str]:
    """The teachers that gave a valid answer to some row, in alphabetical order."""
    return sorted({name for row in rows.rows for name in row.by_teacher})


def num_disputed(rows: TaskRows) -> int:
    """Rows on which the teachers' own answers differ."""
    return sum(len(set(row.by_teacher.values())) > 1 for row in rows.rows)


def settled_votes(rows: TaskRows) -> Settlement:
    """The teachers' votes, each weighed by how reliable the teacher is.

    Raises:
        ConfigError: there are not two teachers whose answers meet on some row.
    """
    teachers = teachers_of(rows)
    if not any(len(row.by_teacher) > 1 for row in rows.rows):
        names = ", ".join(teachers)
        raise ConfigError(
            f"noise.method=committee needs rows with answers of two teachers or more, and the "
            f"teachers here ({names}) share none. Collect with --teacher given several times."
        )
    votes_T = [_votes(rows, teacher) for teacher in teachers]
    if rows.task.multiple:
        posterior_NL, reliability = _by_label(rows, votes_T)
    else:
        found = dawid_skene(votes_T)
        posterior_NL, reliability = found.posterior_NL, found.reliability_T
    return Settlement(
        posterior_NL,
        dict(zip(teachers, reliability.tolist(), strict=True)),
        num_disputed(rows),
    )


def _votes(rows: TaskRows, teacher: str) -> Any:
    """(N, L) sparse shares of a teacher's answers that have each label."""
    from scipy.sparse import coo_array

    columns = {label: column for column, label in enumerate(rows.task.labels)}
    places: list[tuple[int, int]] = []
    shares: list[float] = []
    for index, row in enumerate(rows.rows):
        counts = row.votes.get(teacher, {})
        total = sum(counts.values())
        for answer, times in counts.items():
            for label in answer_labels(rows.task, answer):
                places.append((index, columns[label]))
                shares.append(times / total)
    numbers = np.array(places, dtype=np.int64).reshape(-1, 2)
    shape = (len(rows), len(columns))
    return coo_array((shares, (numbers[:, 0], numbers[:, 1])), shape=shape).tocsr()


def _by_label(rows: TaskRows, votes_T: Sequence[Any]) -> tuple[Floats, Floats]:
    """(N, L) posterior and (T,) reliability, each label on its own as a yes or no."""
    has_answer_TN = [
        np.array([teacher in row.by_teacher for row in rows.rows], dtype=np.float64)
        for teacher in teachers_of(rows)
    ]
    posterior_NL = np.empty((len(rows), len(rows.task.labels)))
    reliability_LT = []
    for column in range(len(rows.task.labels)):
        yes_TN = [votes_NL[:, [column]].toarray()[:, 0] for votes_NL in votes_T]
        found = dawid_skene(
            [
                np.stack([yes_N, has_answer_N - yes_N], axis=1)
                for yes_N, has_answer_N in zip(yes_TN, has_answer_TN, strict=True)
            ]
        )
        posterior_NL[:, column] = found.posterior_NL[:, 0]
        reliability_LT.append(found.reliability_T)
    return posterior_NL, np.mean(reliability_LT, axis=0)
