"""What is promised, and what of it holds: read out of the results alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured"
_ABSENT = object()


@dataclass(frozen=True)
class Goal:
    """A limit for one figure.

    Attributes:
        words: What the figure is.
        path: Where it stands, from the part's name on.
        limit: That the figure has to keep.
        is_least: Whether it may not be lower, instead of not higher.
        scale: What the figure is multiplied by to be in `unit`.
        size_path: Where it stands how much was measured.
        least_size: Smaller measurements say nothing of the goal.
    """

    words: str
    path: tuple[str, ...]
    limit: float
    unit: str = ""
    is_least: bool = False
    scale: float = 1.0
    size_path: tuple[str, ...] = ()
    least_size: float = 0

    def shown(self, value: float) -> str:
        """A value with its unit."""
        if abs(value) == float("inf"):
            return "never"
        digits = 3 if 0 < abs(value) < 1 else 1
        text = f"{value:,.{digits}f}".rstrip("0").rstrip(".") if value % 1 else f"{value:,.0f}"
        return f"{text} {self.unit}".strip()

    def is_met(self, value: float) -> bool:
        """Whether the value keeps the limit."""
        return value >= self.limit if self.is_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """A goal beside what was measured; None where nothing was, or too little."""

    goal: Goal
    value: float | None

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What, goal, value, met."""
        sign = "at least" if self.goal.is_least else "at most"
        if self.goal.limit == 0:
            sign = ""
        goal = f"{sign} {self.goal.shown(self.goal.limit)}".strip()
        if self.value is None:
            return self.goal.words, goal, NOT_MEASURED, ""
        is_met = self.goal.is_met(self.value)
        return self.goal.words, goal, self.goal.shown(self.value), "yes" if is_met else "**no**"


def rows(document: dict[str, Any], goals: Sequence[Goal]) -> list[Row]:
    """Every goal with its figure."""
    return [Row(goal, _value(document, goal)) for goal in goals]


def goals_table(document: dict[str, Any], goals: Sequence[Goal]) -> str:
    """The goals as a table in Markdown."""
    found = (row.cells for row in rows(document, goals))
    return markdown_table(("", "goal", "measured", "met"), found)


def _value(document: dict[str, Any], goal: Goal) -> float | None:
    value = _at(document, goal.path)
    if value is _ABSENT or not _is_large_enough(document, goal):
        return None
    if value is None:  # measured, and it never came to it
        return float("-inf") if goal.is_least else float("inf")
    return float(value) * goal.scale


def _is_large_enough(document: dict[str, Any], goal: Goal) -> bool:
    if not goal.size_path:
        return True
    size = _at(document, goal.size_path)
    return size is not _ABSENT and bool(size >= goal.least_size)


def _at(document: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = document
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def markdown_table(header: tuple[str, ...], cells: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [header, ("---",) * len(header), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
