"""Figures that an engine adds to the server's metrics, and reports that it gives at a path."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Report = Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of the metrics.

    Attributes:
        name: As Prometheus has it; those of one name come together.
        value: As it stands.
        labels: That tell values of one name apart; never what a client made up.
        kind: Whether it only grows.
    """

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["counter", "gauge"] = "counter"


@runtime_checkable
class HasFigures(Protocol):
    """An engine with figures of its own."""

    def figures(self) -> list[Figure]:
        """As they stand."""
        ...


@runtime_checkable
class HasReports(Protocol):
    """An engine that tells more at `/v1/stillhouse/NAME`."""

    def reports(self) -> Mapping[str, Report]:
        """Each report by its name."""
        ...


def figures_of(engine: object) -> list[Figure]:
    """The figures of an engine; none of one that has none."""
    return engine.figures() if isinstance(engine, HasFigures) else []


def reports_of(engine: object) -> Mapping[str, Report]:
    """The reports of an engine; none of one that has none."""
    return engine.reports() if isinstance(engine, HasReports) else {}


def figures_page(figures: Iterable[Figure]) -> str:
    """Figures as text, each name once with its kind."""
    lines, last = [], ""
    for figure in sorted(figures, key=lambda one: one.name):
        if figure.name != last:
            lines.append(f"# TYPE {figure.name} {figure.kind}")
            last = figure.name
        told = ",".join(f'{name}="{value}"' for name, value in figure.labels.items())
        lines.append(
            f"{figure.name}{{{told}}} {figure.value:.12g}"
            if told
            else f"{figure.name} {figure.value:.12g}"
        )
    return "".join(f"{line}\n" for line in lines)
