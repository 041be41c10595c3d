"""Quality against what it costs: latency, size and money as small multiples."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.evaluate._task._records import SystemResult, TaskEstimate
from stillhouse.evaluate._task._report._scatter import Mark, Plot, frontier, scatter
from stillhouse.evaluate._task._report._words import (
    dollars,
    milliseconds,
    quality_name,
    share,
    share_interval,
)
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import size

_DECIMAL = re.compile(r"\d+\.\d+")
_WIDTH, _HEIGHT = 340.0, 300.0
_REACH = 0.6  # of the height of what matters, below which a baseline would squeeze it


@dataclass(frozen=True)
class Panel:
    """One quantity against quality."""

    title: str
    drawing: Markup


@dataclass(frozen=True)
class Pareto:
    """The panels, and what is too far below to be among them."""

    y_label: str
    panels: tuple[Panel, ...]
    off_scale: tuple[str, ...]


_Of = Callable[[SystemResult], float | None]
_QUANTITIES: tuple[tuple[str, str, _Of, Callable[[float], str]], ...] = (
    (
        "Time of one answer",
        "median, alone",
        lambda one: one.latency.median_s.value if one.latency else None,
        milliseconds,
    ),
    ("Size", "on disk", lambda one: one.num_bytes, lambda value: size(round(value))),
    (
        "Cost",
        "of 1,000 answers",
        lambda one: one.usd_per_1000.value if one.usd_per_1000 else None,
        dollars,
    ),
)


def pareto(results: TaskResults, colors: Mapping[str, str]) -> Pareto | None:
    """The panels that have two systems or more; None where there is none."""
    shown, off_scale = _on_scale(results)
    panels = []
    for title, how, of, text in _QUANTITIES:
        marks = [
            _mark(one, quality, value, text, colors)
            for one, quality in shown
            if (value := of(one)) is not None and value > 0
        ]
        if len(marks) < 2:
            continue
        plot = Plot(
            marks=tuple(marks),
            x_label=f"{how}, log scale",
            y_label="%",
            x_text=_tick_text(text),
            line=frontier(marks),
            level=_teacher_level(results, of),
        )
        label = (
            f"{quality_name(results.task, results.metric)} against {title.lower()}: "
            + "; ".join(mark.title for mark in marks)
        )
        panels.append(Panel(title, scatter(plot, width=_WIDTH, height=_HEIGHT, label=label)))
    if not panels:
        return None
    return Pareto(quality_name(results.task, results.metric), tuple(panels), off_scale)


def _on_scale(
    results: TaskResults,
) -> tuple[list[tuple[SystemResult, TaskEstimate]], tuple[str, ...]]:
    """Systems with a quality that can share one axis, and words on those that cannot."""
    measured = [
        (one, quality)
        for one in results.systems
        if (quality := one.quality(results.metric)) is not None
    ]
    core = [quality.value for one, quality in measured if one.role in ("teacher", "student")]
    floor = min(core) - max(_REACH * (max(core) - min(core)), 0.12)
    shown = [(one, quality) for one, quality in measured if quality.value >= floor]
    below = tuple(
        f"{one.name} {share(quality)}" for one, quality in measured if quality.value < floor
    )
    return shown, below


def _mark(
    one: SystemResult,
    quality: TaskEstimate,
    value: float,
    text: Callable[[float], str],
    colors: Mapping[str, str],
) -> Mark:
    return Mark(
        label=one.name,
        color=colors[one.name],
        x=value,
        y=100 * quality.value,
        low=100 * quality.low,
        high=100 * quality.high,
        is_hollow=one.role != "student",
        title=f"{one.name}: {share(quality)} [{share_interval(quality)}], {text(value)}",
    )


def _tick_text(text: Callable[[float], str]) -> Callable[[float], str]:
    """Writes ticks without the zeros that say nothing: `10.0 ms` is `10 ms`."""
    return lambda value: _DECIMAL.sub(lambda number: number[0].rstrip("0").rstrip("."), text(value))


def _teacher_level(results: TaskResults, of: _Of) -> tuple[float, str] | None:
    """Where the teacher is, in a panel that it has no place in."""
    quality = results.teacher.quality(results.metric)
    if quality is None or of(results.teacher):
        return None
    return 100 * quality.value, "teacher"
