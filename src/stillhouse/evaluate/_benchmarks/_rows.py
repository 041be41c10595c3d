"""From what the harness logs of each item to rows, and to the scores that are compared."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from stillhouse.errors import ConfigError, DataError
from stillhouse.evaluate._benchmarks._compare import Scores
from stillhouse.evaluate._benchmarks._results import BenchmarkRow
from stillhouse.records import Record

_Key = tuple[str, str, str]


class MetricFacts(Record):
    """One task by one metric: what a figure has to be read with."""

    task: str
    version: str
    metric: str
    filter: str
    is_main: bool
    is_higher_better: bool
    num_fewshot: int

    @property
    def key(self) -> _Key:
        """What rows of this metric have in common."""
        return self.task, self.filter, self.metric


def rows_of_task(
    task: str, samples: Sequence[Mapping[str, Any]], *, model: str, cluster_column: str | None
) -> tuple[list[BenchmarkRow], set[str]]:
    """The rows of one model on one task, and the metrics that have no score of single items.

    Args:
        task: Its name.
        samples: What the harness logged, one for each item and filter.
        model: What to call the model.
        cluster_column: Column of an item that says what it hangs together with.

    Raises:
        ConfigError: items have no such column.
    """
    rows: list[BenchmarkRow] = []
    not_scored: set[str] = set()
    for sample in samples:
        group = _group(task, sample["doc"], cluster_column)
        for metric in sample["metrics"]:
            score = _score(sample[metric])
            if score is None:
                not_scored.add(metric)
                continue
            rows.append(
                BenchmarkRow(
                    model=model,
                    task=task,
                    metric=metric,
                    filter=sample["filter"],
                    item=int(sample["doc_id"]),
                    item_sha256=str(sample["doc_hash"]),
                    group=group,
                    score=score,
                    answer=_answer(sample["filtered_resps"]),
                    target=str(sample["target"]),
                )
            )
    # A metric with a score on some items only would be a mean over whichever those are.
    return [row for row in rows if row.metric not in not_scored], not_scored


def paired_scores(
    facts: MetricFacts, student: Iterable[BenchmarkRow], base: Iterable[BenchmarkRow] | None
) -> Scores:
    """The scores of one metric, in the order of the items.

    Args:
        facts: Which metric.
        student: All rows of the student.
        base: All rows of the base; None where there is none.

    Raises:
        DataError: the two were not asked the same items.
    """
    ours = _of_metric(facts, student)
    theirs = None if base is None else _of_metric(facts, base)
    if theirs is not None and _items(ours) != _items(theirs):
        raise DataError(
            f"Student and base were asked different items of {facts.task}, so they cannot be "
            "compared. Use a task whose items do not depend on the model."
        )
    return Scores(
        task=facts.task,
        version=facts.version,
        metric=facts.metric,
        filter=facts.filter,
        is_main=facts.is_main,
        is_higher_better=facts.is_higher_better,
        num_fewshot=facts.num_fewshot,
        student_N=np.array([row.score for row in ours]),
        base_N=None if theirs is None else np.array([row.score for row in theirs]),
        groups=tuple(row.group for row in ours if row.group is not None),
    )


def _of_metric(facts: MetricFacts, rows: Iterable[BenchmarkRow]) -> list[BenchmarkRow]:
    chosen = [row for row in rows if (row.task, row.filter, row.metric) == facts.key]
    return sorted(chosen, key=lambda row: row.item)


def _items(rows: Sequence[BenchmarkRow]) -> list[tuple[int, str]]:
    return [(row.item, row.item_sha256) for row in rows]


def _score(value: Any) -> float | None:
    if isinstance(value, (bool, int, float, np.number, np.bool_)) and math.isfinite(value):
        return float(value)
    return None


def _group(task: str, item: Mapping[str, Any], column: str | None) -> str | None:
    if column is None:
        return None
    if column not in item:
        raise ConfigError(
            f"clusters.{task} is {column!r}, but items of {task} have the columns "
            f"{', '.join(sorted(map(str, item)))}. Name one of them."
        )
    return str(item[column])


def _answer(responses: Any) -> str:
    """What the metric saw: a completion as it is, anything else as JSON."""
    only = (
        responses[0] if isinstance(responses, (list, tuple)) and len(responses) == 1 else responses
    )
    return only if isinstance(only, str) else json.dumps(only, ensure_ascii=False, default=str)
