"""One part of the traffic, measured: which cheap student follows the teacher how far."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stillhouse.errors import ConfigError, MissingDependencyError
from stillhouse.pipeline._scan_choice import Answered
from stillhouse.pipeline._scan_config import ScanConfig, ScanStudent
from stillhouse.pipeline._scan_results import CurvePoint, Tried
from stillhouse.pipeline._scan_split import TaskRows, folds, shuffled
from stillhouse.pipeline._scan_student import Answering, Flags, Floats, fit_student
from stillhouse.runlog import Listener, Ticker
from stillhouse.statistics import Interval, clustered_bootstrap, fraction_interval

_HALVINGS = 3
_FEWEST_LEARNT = 10  # rows, for a point of a curve
_CURVE_FOLDS = 3


class FitTicker:
    """Counts the students that are made; a part that needs fewer than it might counts as all."""

    def __init__(self, listener: Listener, *, num_parts: int, config: ScanConfig) -> None:
        self._of_part = (
            config.num_folds * len(config.students) + _HALVINGS * _CURVE_FOLDS + 1
        )  # the curve's, and the last one
        self._left = self._of_part
        self._ticker = Ticker(listener, stage="scan", total=num_parts * self._of_part, unit="fits")

    def advance(self) -> None:
        """Count one."""
        self._left -= 1
        self._ticker.advance()

    def end_part(self) -> None:
        """Count those that the part did without."""
        self._ticker.advance(self._left)
        self._left = self._of_part


class Measured:
    """What held-out rows say about the students, and the better one of them.

    Args:
        rows: Rows to choose on; those without an answer are asked about and not learnt from.
        least: See `fit_student`.
        config: How to scan.
        ticker: Advances with every student that is made.
    """

    def __init__(self, rows: TaskRows, least: int, config: ScanConfig, ticker: FitTicker) -> None:
        self._rows = shuffled(rows, seed=config.seed)
        self._folds = folds(self._rows, config.num_folds, seed=config.seed)
        self._least = least
        self._config = config
        self._ticker = ticker
        self.notes: list[str] = []
        found = {kind: out for kind in config.students if (out := self._try(kind)) is not None}
        if not found:
            raise ConfigError(
                f"None of the students {', '.join(config.students)} can be made here "
                f"({'; '.join(self.notes)}). Try ngram, which needs nothing."
            )
        self.tried = tuple(
            Tried(student=kind, agreement=self._interval(out.agrees_N))
            for kind, out in found.items()
        )
        # Of equals the first, which is the cheaper.
        self.kind = max(found, key=lambda kind: int(found[kind].agrees_N.sum()))
        self.chosen_on = found[self.kind]

    def student(self) -> Answering:
        """The better student, fitted on all rows."""
        return self._fit(self.kind, self._rows)

    def curve(self) -> tuple[CurvePoint, ...]:
        """Agreement of the better student with ever more rows, each number twice the last."""
        return tuple(self._points())

    def _points(self) -> Iterator[CurvePoint]:
        others = [self._others(fold).valid() for fold in range(len(self._folds))]
        most = min(map(len, others))
        for halvings in range(_HALVINGS, 0, -1):
            num_rows = most >> halvings
            if num_rows < _FEWEST_LEARNT:
                continue
            agrees: list[Flags] = []
            groups: list[str] = []
            for fold in range(min(_CURVE_FOLDS, len(self._folds))):
                asked = self._rows.of(self._folds[fold])
                student = self._fit(self.kind, others[fold].of(range(num_rows)))
                agrees.append(student(asked.texts).agrees_N(asked.answers))
                groups += asked.groups
            yield CurvePoint(
                num_rows=num_rows, agreement=agreement_interval(np.concatenate(agrees), groups)
            )
        yield CurvePoint(num_rows=most, agreement=self._interval(self.chosen_on.agrees_N))

    def _try(self, kind: ScanStudent) -> Answered | None:
        """What a student does on the folds that it did not see; None where it cannot be made."""
        confidence_N = np.empty(len(self._rows))
        agrees_N = np.empty(len(self._rows), dtype=np.bool_)
        for fold, places in enumerate(self._folds):
            asked = self._rows.of(places)
            try:
                given = self._fit(kind, self._others(fold).valid())(asked.texts)
            except (MissingDependencyError, ConfigError) as err:
                self.notes.append(f"{kind} was not tried: {err}")
                return None
            confidence_N[places] = given.confidence_N
            agrees_N[places] = given.agrees_N(asked.answers)
        return Answered(confidence_N, agrees_N)

    def _others(self, fold: int) -> TaskRows:
        held_out = set(self._folds[fold])
        return self._rows.of([place for place in range(len(self._rows)) if place not in held_out])

    def _fit(self, kind: ScanStudent, rows: TaskRows) -> Answering:
        valid = rows.valid()
        self._ticker.advance()
        return fit_student(
            kind, valid.texts, valid.learnt(), least=self._least, seed=self._config.seed
        )

    def _interval(self, agrees_N: Flags) -> Interval:
        return agreement_interval(agrees_N, self._rows.groups)


def agreement_interval(agrees_N: Flags, groups: Sequence[str]) -> Interval:
    """The fraction of rows that agree; see `interval_over`."""
    return interval_over(agrees_N.astype(np.float64), groups)


def interval_over(scores_N: Floats, groups: Sequence[str]) -> Interval:
    """The mean of scores in [0, 1]; rows of one group count as one piece of evidence.

    Raises:
        DataError: there are no rows.
    """
    num_groups = len(set(groups))
    is_binary = bool(((scores_N == 0) | (scores_N == 1)).all())
    if is_binary and num_groups == len(groups):
        return fraction_interval(int(scores_N.sum()), len(scores_N))
    if is_binary and len(set(scores_N.tolist())) == 1:  # a bootstrap would claim certainty
        exact = fraction_interval(num_groups if scores_N[0] else 0, num_groups)
        return replace(exact, n=len(scores_N))
    return clustered_bootstrap(scores_N, np.ones(len(scores_N)), clusters=list(groups))


def is_measurable(rows: TaskRows, config: ScanConfig) -> bool:
    """Whether a student would have rows to learn from, whichever fold is held out."""
    found = folds(rows, config.num_folds, seed=config.seed)
    valid = [sum(rows.answers[place] is not None for place in places) for places in found]
    return len(found) > 1 and sum(valid) - max(valid) >= _FEWEST_LEARNT
