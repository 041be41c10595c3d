"""Answers that cheap students of other rows contradict: found and corrected.

Letters: N rows, M rows that were set aside, L labels.
"""

from dataclasses import dataclass

import numpy as np

from stillhouse.classifiers import folds_of
from stillhouse.errors import MissingDependencyError
from stillhouse.fit._config import FitConfig
from stillhouse.fit._crossfit import CrossFit, Judged, best_cross_fit, corrected_cross_fit
from stillhouse.fit._panel import settled_panel
from stillhouse.fit._proxies import Kind, Proxy, open_proxy, proxy_kinds
from stillhouse.fit._rows import Floats, Integers, TaskRows
from stillhouse.runlog import Listener, Ticker
from stillhouse.statistics import Interval

_NUM_ROUNDS = 3  # the answers as given, by one kind of student and another; then corrected ones


@dataclass(frozen=True)
class Judgement:
    """What cheap students of one kind make of the answers.

    Attributes:
        proxy: The texts as they read them.
        found: The students.
    """

    proxy: Proxy
    found: CrossFit


@dataclass(frozen=True)
class Correction:
    """What is probably right, by students that did not see the row.

    Attributes:
        learn_NL: (N, L) probability of each label to be right.
        aside_ML: (M, L) the same of rows that were set aside.
        kind: Of the students that counted most.
        rate: Fraction of wrong answers, before any correction.
    """

    learn_NL: Floats
    aside_ML: Floats
    kind: Kind
    rate: Interval


class Jury:
    """Cheap students of all rows but some, who judge these.

    Args:
        config: Which students, how many parts.
        learn: N rows.
        aside: M rows that no student learns from.
        on_progress: Told about texts read and rounds done.
    """

    def __init__(
        self, config: FitConfig, learn: TaskRows, aside: TaskRows, on_progress: Listener
    ) -> None:
        self._config = config
        self._learn = learn
        self._aside = aside
        self._on_progress = on_progress
        num_folds = min(config.noise.num_folds, len(learn))
        self._folds_N = folds_of(learn.targets_NL, num_folds, seed=config.seed)
        self._answers_N = answer_numbers(learn)
        self._ticker = Ticker(on_progress, stage="check answers", total=_NUM_ROUNDS, unit="rounds")
        self.first = self._judge(proxy_kinds(config)[0])
        self._ticker.advance()

    @property
    def rate(self) -> Interval:
        """Fraction of wrong answers, by the students asked first."""
        return self.first.found.noise.rate

    def correct(self) -> Correction:
        """What is probably right, by students who have learnt corrected answers."""
        judgements = self._likeliest_first()
        self._ticker.advance()
        judged = [self._judged(one.proxy) for one in judgements]
        panel = settled_panel(
            judged,
            [
                corrected_cross_fit(rows, one.found)
                for rows, one in zip(judged, judgements, strict=True)
            ],
        )
        self._ticker.advance()
        return Correction(
            learn_NL=panel.posterior(self._answers_N),
            aside_ML=panel.posterior_aside(
                [one.proxy.aside for one in judgements], answer_numbers(self._aside)
            ),
            kind=judgements[0].proxy.kind,
            rate=judgements[0].found.noise.rate,
        )

    def _judge(self, kind: Kind) -> Judgement:
        proxy = open_proxy(kind, self._config, self._learn, self._aside, self._on_progress)
        return Judgement(proxy, best_cross_fit(self._judged(proxy)))

    def _judged(self, proxy: Proxy) -> Judged:
        return Judged(proxy.learn, self._learn.targets_NL, self._answers_N, self._folds_N)

    def _likeliest_first(self) -> list[Judgement]:
        """The kinds of students, that under which the answers are likelier first."""
        kind = proxy_kinds(self._config)[1]
        if kind is None:
            return [self.first]
        try:
            second = self._judge(kind)
        except MissingDependencyError:
            return [self.first]  # which kind was asked is in the report
        return sorted([self.first, second], key=lambda one: one.found.noise.nats)


def answer_numbers(rows: TaskRows) -> Integers:
    """(N,) the number of each answer's label, for tasks with one label a text."""
    numbers = {label: number for number, label in enumerate(rows.task.labels)}
    return np.array([numbers[answer] for answer in rows.answers], dtype=np.int64)
