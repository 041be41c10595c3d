"""A linear head whose penalty is chosen on rows held out in turn, and calibrated on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillhouse.classifiers._classifier import FitReport
from stillhouse.classifiers._folds import Indices, folds_of
from stillhouse.classifiers._judgement import Judgement, judged
from stillhouse.classifiers._labels import Floats, LabelledRows
from stillhouse.classifiers._linear import Features, LinearHead, fit_linear
from stillhouse.runlog import Listener, Ticker

L2_GRID = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Penalties to choose from, strongest first, against the sum of the rows' losses."""

_NUM_FOLDS = 5
_ENOUGH_HELD_OUT = 1_000  # rows; with fewer, further parts are held out in turn
_PATIENCE = 2  # penalties that are no better before weaker ones are left out


@dataclass(frozen=True)
class HeadFit:
    """A head and what held-out rows said about it.

    Attributes:
        head: Fitted on all rows.
        l2: Its penalty.
        held_out: (M,) the rows that were held out.
        held_out_logits_MS: (M, S) what heads that had not seen them said.
        judgement: Of these.
    """

    head: LinearHead
    l2: float
    held_out: Indices
    held_out_logits_MS: Floats
    judgement: Judgement

    def report(self, rows: LabelledRows, *warnings: str) -> FitReport:
        """What is said about a student that is this head on fixed features."""
        return FitReport(
            num_rows=len(rows.texts),
            num_held_out=len(self.held_out),
            held_out_nats=self.judgement.nats,
            held_out_agreement=self.judgement.agreement,
            l2=self.l2,
            unseen_labels=rows.space.unseen,
            warnings=(*rows.warnings(), *warnings),
        )


@dataclass(frozen=True)
class _Trial:
    l2: float
    heads: list[LinearHead]
    logits_MS: Floats
    judgement: Judgement


def fit_head(
    features: Features,
    rows: LabelledRows,
    *,
    l2: float | None,
    seed: int,
    stage: str,
    on_progress: Listener,
) -> HeadFit:
    """The head for the labels of `rows` that can be learnt.

    Args:
        features: (N, F) float32, dense or CSR.
        rows: What is right for each.
        l2: The penalty; None chooses the one with the lowest calibrated cross-entropy on rows
            that are held out: the first fifth, and with few rows all fifths in turn.
        seed: Of the parts.
        stage: What progress is called.
        on_progress: Is told after each penalty.
    """
    grid = L2_GRID if l2 is None else (l2,)
    ticker = Ticker(on_progress, stage=stage, total=len(grid) + 1, unit="fits")
    targets_NS = rows.learnt_targets_NS
    parts = _held_out_parts(targets_NS, seed=seed)
    best = _best_trial(features, rows, targets_NS, parts, grid, ticker)
    head = _fit(features, targets_NS, rows, best.l2, np.arange(len(targets_NS)), best.heads[0])
    ticker.advance()
    return HeadFit(head, best.l2, np.concatenate(parts), best.logits_MS, best.judgement)


def _held_out_parts(targets_NS: Floats, *, seed: int) -> list[Any]:
    folds_N = folds_of(targets_NS, min(_NUM_FOLDS, len(targets_NS)), seed=seed)
    parts: list[Any] = []
    for fold in range(folds_N.max() + 1):
        parts.append(np.flatnonzero(folds_N == fold))
        if sum(map(len, parts)) >= _ENOUGH_HELD_OUT:
            break
    return parts


def _best_trial(
    features: Features,
    rows: LabelledRows,
    targets_NS: Floats,
    parts: Sequence[Any],
    grid: Sequence[float],
    ticker: Ticker,
) -> _Trial:
    best: _Trial | None = None
    starts: Sequence[LinearHead | None] = [None] * len(parts)
    num_worse = 0
    for l2 in grid:
        trial = _try(features, rows, targets_NS, parts, l2, starts)
        ticker.advance(metrics={"fit/held_out_nats": trial.judgement.nats})
        starts = trial.heads
        if best is None or trial.judgement.nats < best.judgement.nats:
            best, num_worse = trial, 0
        else:
            num_worse += 1
        if num_worse == _PATIENCE:
            break
    assert best is not None
    return best


def _try(
    features: Features,
    rows: LabelledRows,
    targets_NS: Floats,
    parts: Sequence[Any],
    l2: float,
    starts: Sequence[LinearHead | None],
) -> _Trial:
    heads, logits = [], []
    for part, start in zip(parts, starts, strict=True):
        others = np.setdiff1d(np.arange(len(targets_NS)), part)
        head = _fit(features, targets_NS, rows, l2, others, start)
        heads.append(head)
        logits.append(head.logits(features[part]))
    held_out, logits_MS = np.concatenate(parts), np.concatenate(logits)
    judgement = judged(
        logits_MS,
        targets_NS[held_out],
        is_multiple=rows.space.is_multiple,
        weights_N=rows.weights_N[held_out],
    )
    return _Trial(l2, heads, logits_MS, judgement)


def _fit(
    features: Features,
    targets_NS: Floats,
    rows: LabelledRows,
    l2: float,
    chosen: Any,
    start: LinearHead | None,
) -> LinearHead:
    is_all = len(chosen) == len(targets_NS)
    return fit_linear(
        features if is_all else features[chosen],
        targets_NS[chosen],
        rows.weights_N[chosen],
        is_multiple=rows.space.is_multiple,
        l2=l2,
        start=start,
    )
