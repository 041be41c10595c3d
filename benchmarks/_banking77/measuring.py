"""What a fitted student is worth: on the test rows, against the teacher, the gold and the clock.

Letters: N test rows, S seeds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks._banking77.rows import LabelSet

from stillhouse.artifacts import Artifact
from stillhouse.classifiers import Classifier, load_classifier, probabilities
from stillhouse.statistics import (
    clustered_bootstrap,
    compare_paired_binary,
    fraction_interval,
)
from stillhouse.tasks import Task, parse_answer

Flags = npt.NDArray[np.bool_]

_WARM_UP = 20


@dataclass(frozen=True)
class Expected:
    """What the test rows are compared with.

    Attributes:
        teacher: N canonical answers of the teacher; None where it gave no valid one.
        gold: N right answers.
    """

    teacher: tuple[str | None, ...]
    gold: tuple[str | None, ...]

    @classmethod
    def of(cls, found: LabelSet) -> "Expected":
        """That of a label set's test rows."""
        return cls(
            tuple(parse_answer(found.task, row.answer).text for row in found.test),
            tuple(parse_answer(found.task, row.gold).text for row in found.test),
        )

    @property
    def teacher_right_N(self) -> Flags:
        """Where the teacher is right; a row without a valid answer is not."""
        return equal_N(self.teacher, self.gold)


@dataclass(frozen=True)
class Result:
    """One student on the test rows.

    Attributes:
        agrees_N: Where it says what the teacher does; nowhere where that said nothing valid, as
            the peer counts.
        right_N: Where it is right.
        figures: Size, time and speed.
    """

    agrees_N: Flags
    right_N: Flags
    figures: dict[str, Any]


def measure(student: Artifact, found: LabelSet, *, latency_messages: int) -> Result:
    """What a student answers to the test rows, and how fast."""
    classifier = load_classifier(student.path)
    texts = [row.text for row in found.test]
    answers = answers_of(classifier, texts, found.task)
    expected = Expected.of(found)
    return Result(
        agrees_N=equal_N(answers, expected.teacher),
        right_N=equal_N(answers, expected.gold),
        figures={
            "parameters": classifier.num_parameters,
            "megabytes": round(classifier.num_bytes / 1e6, 2),
            "seconds": round(student.manifest.usage.seconds, 1),
            "latency_ms": latency_ms(classifier, texts[:latency_messages]),
        },
    )


def answers_of(classifier: Classifier, texts: Sequence[str], task: Task) -> list[str]:
    """The likeliest label of each text."""
    best_N = probabilities(classifier, texts).argmax(axis=1)
    return [classifier.labels[best] for best in best_N]


def latency_ms(classifier: Classifier, texts: Sequence[str]) -> dict[str, float]:
    """Milliseconds for one message alone: at the median and for one in twenty."""
    for text in texts[:_WARM_UP]:
        probabilities(classifier, [text])
    taken_ms = []
    for text in texts:
        started_s = perf_counter()
        probabilities(classifier, [text])
        taken_ms.append(1e3 * (perf_counter() - started_s))
    median, worst = np.percentile(taken_ms, [50, 95])
    return {"median": round(float(median), 3), "p95": round(float(worst), 3)}


def summary(results: Sequence[Result], expected: Expected, *, margin: float) -> dict[str, Any]:
    """Students of one kind that differ by their seed, as one entry."""
    verdicts = []
    for result in results:
        compared = compare_paired_binary(result.right_N, expected.teacher_right_N, margin=margin)
        verdicts.append({"verdict": compared.verdict, "difference": asdict(compared.difference)})
    return {
        "seeds": len(results),
        "agreement": mean_over_seeds([result.agrees_N for result in results]),
        "agreement_by_seed": [round(float(one.agrees_N.mean()), 5) for one in results],
        "gold": mean_over_seeds([result.right_N for result in results]),
        "against_teacher": verdicts,
        "not_shown_non_inferior": sum(
            one["verdict"] not in ("better", "non_inferior") for one in verdicts
        ),
        "latency_ms": max(result.figures["latency_ms"]["median"] for result in results),
        "seconds": max(result.figures["seconds"] for result in results),
        "students": [result.figures for result in results],
    }


def mean_over_seeds(flags: Sequence[Flags]) -> dict[str, Any]:
    """The mean over seeds and rows; the interval is over rows, each with all its seeds."""
    mean_N = np.mean(np.stack(flags), axis=0)
    if set(mean_N) <= {0.0, 1.0}:  # one seed, or seeds that all agree: the exact interval
        return asdict(fraction_interval(int(mean_N.sum()), len(mean_N)))
    found = clustered_bootstrap(mean_N, np.ones(len(mean_N)), clusters=np.arange(len(mean_N)))
    return asdict(found)


def equal_N(answers: Sequence[str | None], expected: Sequence[str | None]) -> Flags:
    """(N,) where an answer is the expected one; nowhere where there is none."""
    pairs = zip(answers, expected, strict=True)
    return np.array([ours is not None and ours == theirs for ours, theirs in pairs], np.bool_)
