"""What happens when ten intents arrive that the student never saw, and when nothing happens.

The student is fitted and certified without ten intents of Banking77. It serves requests like its
own first, then those of the ten intents, alone or among its own. The watch sees confidences and
novelties, and of 2 % of the requests whether the answer differs from the recorded teacher's.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from benchmarks._banking77.datasets import make_dataset
from benchmarks._banking77.rows import BANKING, LabelRow, LabelSet
from benchmarks._banking77.students import fitted
from benchmarks._cascade.options import Options
from benchmarks._cascade.tasks import label_set

from stillhouse.cascade import Cascade, open_cascade
from stillhouse.certify import CertifyConfig, certify
from stillhouse.classifiers import Classifier, load_classifier, probabilities
from stillhouse.statistics import fraction_interval
from stillhouse.tasks import Task, parse_answer

Order = npt.NDArray[np.int64]

_NUM_INTENTS = 10
_TARGET = 0.97
_BEFORE = 400  # requests like the training rows, before the shift
_AFTER = 300  # requests in which it has to be noticed
_SHARES = (1.0, 0.3, 0.1)  # of shifted requests, after the shift
_AFTER_MIXED = 900  # requests in which a smaller share is looked for


@dataclass(frozen=True)
class Requests:
    """Requests with what the student makes of them.

    Attributes:
        confidences: Of its answers.
        novelties: Of their texts.
        losses: 1 where the answer is not the teacher's.
    """

    confidences: Sequence[float]
    novelties: Sequence[float]
    losses: Sequence[float]

    def __len__(self) -> int:
        return len(self.losses)


class Request(NamedTuple):
    """One of them."""

    confidence: float
    novelty: float
    loss: float


@dataclass(frozen=True)
class Stream:
    """Requests in an order."""

    requests: Requests
    order: Order

    def __iter__(self) -> Iterator[Request]:
        found = self.requests
        for row in self.order.tolist():
            yield Request(found.confidences[row], found.novelties[row], found.losses[row])


@dataclass(frozen=True)
class Run:
    """One stream of requests.

    Attributes:
        false_after: Requests before the shift until a fall-back; None where it kept on.
        delay: Requests after the shift until the fall-back; None where it never came.
        cause: What found it.
        wrong: Requests after the shift that the student answered unlike the teacher until then.
    """

    false_after: int | None
    delay: int | None
    cause: str | None
    wrong: int


def shift_part(options: Options) -> dict[str, Any]:
    """Every kind of student, over draws of ten intents and orders of requests."""
    found = label_set(BANKING, options)
    students = {
        kind.strip(): _student(kind.strip(), found, options)
        for kind in options.shift_students.split(",")
    }
    return {
        "target": _TARGET,
        "before": _BEFORE,
        "after_mixed": _AFTER_MIXED,
        "after": _AFTER,
        "students": students,
        "worst_missed": max(one["missed"] for one in students.values()),
        "false_alarms": sum(one["false_alarms"] for one in students.values()),
        "quiet_requests": sum(one["quiet_requests"] for one in students.values()),
        "runs": sum(one["runs"] for one in students.values()),
    }


def _student(kind: str, found: LabelSet, options: Options) -> dict[str, Any]:
    runs: dict[float, list[Run]] = {share: [] for share in _SHARES}
    quiet_alarms = quiet_requests = 0
    coverages = []
    for draw in range(options.draws):
        cascade, like, shifted = _drawn(kind, draw, found, options)
        coverages.append(cascade.rule.certificate.coverage.value)
        for seed in range(options.orders):
            rng = np.random.default_rng(seed)
            order, new = rng.permutation(len(like)), rng.permutation(len(shifted))
            before, rest = Stream(like, order[:_BEFORE]), Stream(like, order[_BEFORE:])
            for share in _SHARES:
                after = mixed(rest, Stream(shifted, new), share, seed)
                runs[share].append(serve(cascade, before, after, seed))
            quiet = serve(cascade, Stream(like, order), [], seed)
            quiet_alarms += quiet.false_after is not None
            quiet_requests += quiet.false_after or len(like)
    print(f"{kind}: {len(runs[1.0])} streams", flush=True)
    return {
        **summary(runs[1.0]),
        "mixed": {f"{share:g}": summary(runs[share]) for share in _SHARES[1:]},
        "coverage": round(float(np.mean(coverages)), 4),
        "quiet_alarms": quiet_alarms,
        "quiet_requests": quiet_requests,
    }


def _drawn(
    kind: str, draw: int, found: LabelSet, options: Options
) -> tuple[Cascade, Requests, Requests]:
    """A cascade without ten intents, requests like its own, and requests of the ten."""
    intents = np.random.default_rng(draw).choice(found.task.labels, _NUM_INTENTS, replace=False)
    held = {str(intent) for intent in intents}
    known, strange = _parted(found, held)
    half = len(known.test) // 2
    calibration, rest = known.test[:half], known.test[half:]
    folder = options.work / f"shift-{draw}"
    dataset = make_dataset(replace(known, test=calibration), folder)
    (student,) = fitted(dataset, folder, kind, seeds=1)
    config = CertifyConfig(target=_TARGET)
    made = certify(
        student.path, dataset.path, folder / f"cascade-{kind}", config=config, replace=True
    )
    cascade, classifier = open_cascade(made.path), load_classifier(student.path)
    return (
        cascade,
        _requests(cascade, classifier, rest, found.task),
        _requests(cascade, classifier, strange, found.task),
    )


def _parted(found: LabelSet, held: set[str]) -> tuple[LabelSet, tuple[LabelRow, ...]]:
    """The set without rows that the teacher gave one of the intents, and those rows.

    Test rows are put in an order of chance, so that their halves are alike.
    """
    order = np.random.default_rng(0).permutation(len(found.test))
    test = tuple(found.test[place] for place in order)
    is_held = [
        [parse_answer(found.task, row.answer).text in held for row in rows]
        for rows in (found.train, test)
    ]
    sides = [
        tuple(row for row, is_strange in zip(rows, flags, strict=True) if not is_strange)
        for rows, flags in zip((found.train, test), is_held, strict=True)
    ]
    strange = tuple(
        row
        for rows, flags in zip((found.train, test), is_held, strict=True)
        for row, is_strange in zip(rows, flags, strict=True)
        if is_strange
    )
    return replace(found, train=sides[0], test=sides[1]), strange


def _requests(
    cascade: Cascade, classifier: Classifier, rows: Sequence[LabelRow], task: Task
) -> Requests:
    texts = [row.text for row in rows]
    states_ND = classifier.states(texts)
    given_NL = probabilities(classifier, texts, states_ND=states_ND)
    answers = [classifier.labels[best] for best in given_NL.argmax(axis=1)]
    teacher = [parse_answer(task, row.answer).text for row in rows]
    return Requests(
        given_NL.max(axis=1).tolist(),
        cascade.novelty(texts, states_ND).tolist(),
        [float(ours != theirs) for ours, theirs in zip(answers, teacher, strict=True)],
    )


def mixed(rest: Stream, shifted: Stream, share: float, seed: int) -> list[Request]:
    """Requests after the shift, each of which is a shifted one with this chance."""
    if share == 1.0:
        return list(shifted)[:_AFTER]
    rng = np.random.default_rng([seed, 1])
    own, new = iter(rest), iter(shifted)
    drawn = (next(new if rng.random() < share else own, None) for _ in range(_AFTER_MIXED))
    return [request for request in drawn if request is not None]


def serve(cascade: Cascade, before: Iterable[Request], after: Iterable[Request], seed: int) -> Run:
    """Serve requests one after the other until the watch falls back or none are left."""
    watch = cascade.watch()
    number = num_before = wrong = 0
    for is_after, requests in enumerate((before, after)):
        for request in requests:
            number += 1
            decision = watch.decide(request.confidence, request.novelty)
            loss = request.loss if decision.route == "student" else 0.0
            wrong += bool(is_after) and loss > 0
            watch.observe_request(request.confidence, decision.route, novelty=request.novelty)
            if watch.is_audited(f"{seed}-{number}"):
                watch.observe_audit(loss)
            if watch.state == "fallen_back":
                cause = watch.status().cause
                if is_after:
                    return Run(None, number - num_before, cause, wrong)
                return Run(number, None, cause, 0)
        num_before = number
    return Run(None, None, None, wrong)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Delays, misses and false alarms of many streams."""
    delays = [run.delay for run in runs if run.delay is not None]
    missed = sum(run.delay is None and run.false_after is None for run in runs)
    interval = fraction_interval(missed, len(runs))
    percentiles = np.percentile(delays, [0, 50, 95, 100]) if delays else [None] * 4
    names = ("least", "median", "p95", "most")
    return {
        "runs": len(runs),
        "missed": missed,
        "missed_high": interval.high,
        "false_alarms": sum(run.false_after is not None for run in runs),
        "delay": {
            name: None if value is None else float(value)
            for name, value in zip(names, percentiles, strict=True)
        },
        "by_drift": sum(run.cause == "drift" and run.delay is not None for run in runs),
        "wrong_until_then": float(np.mean([run.wrong for run in runs])),
    }
