"""What is promised, and what of it holds: read out of the results alone."""

from collections.abc import Iterable, Iterator, Sequence
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


def _goals(
    part: str, size_path: tuple[str, ...], least_size: float, *lines: tuple[Any, ...]
) -> Iterator[Goal]:
    """Goals of one part; a line is words, path below the part, limit, unit, is_least, scale."""
    for words, path, *rest in lines:
        size = (part, *size_path) if size_path else ()
        yield Goal(words, (part, *path), *rest, size_path=size, least_size=least_size)


_OURS = ("clients", "stillhouse")
_RATE = (*_OURS, "durable_per_s")

GOALS = (
    *_goals(
        "cost",
        (*_OURS, "num_prompts"),
        20_000,
        ("CPU per durable completion", (*_OURS, "durable_cpu_ms", "median"), 0.25, "ms"),
        (
            "durable completions, one process",
            (*_OURS, "durable_per_s", "median"),
            2_500,
            "/s",
            True,
        ),
    ),
    *_goals(
        "logprobs",
        ("num_prompts",),
        500,
        ("CPU per durable one, top-20 logprobs of 240", ("durable_cpu_ms", "median"), 8, "ms"),
        ("the same, artefact included", ("cpu_ms", "median"), 8, "ms"),
        ("of these in the ledger, each token", ("ledger_bytes_per_token", "median"), 130, "B"),
        ("of these in the artefact, each token", ("artifact_bytes_per_token", "median"), 130, "B"),
    ),
    *_goals(
        "kills",
        ("single", "num_kills"),
        20,
        ("lost over 20 kills", ("single", "lost"), 0),
        # Twice the concurrency is claimed: under way, or answered and not on disk yet.
        ("paid twice of one kill, 128 claimed", ("single", "most_paid_twice_of_one_kill"), 128),
        ("paid twice and not listed", ("single", "paid_twice_unlisted"), 0),
    ),
    *_goals(
        "kills",
        ("batch", "num_kills"),
        20,
        ("lost over 20 kills, in batches", ("batch", "lost"), 0),
        ("paid twice, in batches", ("batch", "paid_twice"), 0),
    ),
    *_goals(
        "resume",
        ("num_done",),
        1_000_000,
        ("first new request with 1,000,000 done", ("first_request_s", "median"), 5, "s"),
    ),
    *_goals(
        "memory",
        ("num_prompts",),
        1_000_000,
        ("memory growth from 10,000 to 1,000,000 prompts", ("growth_mb",), 64, "MB"),
    ),
    *(
        goal
        for short in ("requests", "tokens")
        for goal in _goals(
            "limits",
            ("steady_s",),
            180,
            (f"limit used, {short} short", (short, "used_fraction"), 97, "%", True, 100.0),
            (f"refused (429), {short} short", (short, "refused_fraction"), 0.5, "%", False, 100.0),
            (f"settled after a halved limit, {short} short", (short, "settled_s"), 10, "s"),
        )
    ),
    *_goals(
        "budget",
        ("num_runs",),
        1_000,
        ("budget overshoot, 1,000 random runs", ("worst_overshoot_usd",), 0, "USD"),
    ),
    *_goals(
        "startup",
        (),
        0,
        ("`stillhouse --help`", ("help_s", "median"), 0.25, "s"),
        ("connections to others than the teacher", ("num_other_connections",), 0),
    ),
)


def rows(document: dict[str, Any], goals: Sequence[Goal] = GOALS) -> list[Row]:
    """Every goal with its figure."""
    return [Row(goal, _value(document, goal)) for goal in goals]


def goals_table(document: dict[str, Any], goals: Sequence[Goal] = GOALS) -> str:
    """The goals as a table in Markdown."""
    found = (row.cells for row in rows(document, goals))
    return markdown_table(("", "goal", "measured", "met"), found)


def peers_table(document: dict[str, Any]) -> str:
    """What each client needs for a completion, as a table in Markdown; medians."""
    clients: dict[str, Any] = document.get("cost", {}).get("clients", {})
    kills: dict[str, Any] = document.get("kills", {}).get("one_kill", {})
    imports: dict[str, Any] = document.get("startup", {}).get("import_s", {})

    def cells(name: str) -> Iterator[str]:
        figures = clients[name]
        yield f"{name} {figures['version']}"
        yield f"{figures['cpu_ms']['median']:.2f} ms"
        yield f"{figures['per_s']['median']:,.0f}"
        yield f"{figures['peak_rss_mb']['median']:,.0f} MB"
        yield f"{imports[name]['median']:.2f} s" if name in imports else ""
        yield _paid_twice(kills[name]) if name in kills else "starts anew"

    header = ("", "CPU each", "per second", "peak memory", "import", "paid twice after a kill")
    return markdown_table(header, (tuple(cells(name)) for name in clients))


def _paid_twice(kill: dict[str, Any]) -> str:
    text = f"{kill['paid_twice']:,} of {kill['num_prompts']:,}"
    return text if kill["has_finished"] else f"{text}, did not finish"


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
