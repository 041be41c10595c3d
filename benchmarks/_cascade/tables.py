"""The goals of the cascade and the tables of `docs/benchmarks.md` on it."""

from collections.abc import Iterator
from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances

_ROWS = 3_075
_SPLITS = 600
_RUNS = 100

GOALS = (
    Goal(
        "escalation at 97 % agreement, certified",
        ("banking77", "best", "0.97", "escalation"),
        25.0,
        "%",
        scale=100,
        size_path=("banking77", "test"),
        least_size=_ROWS,
    ),
    Goal(
        "answered by the student at 98 %, certified",
        ("banking77", "best", "0.98", "coverage", "value"),
        61.7,
        "%",
        is_least=True,
        scale=100,
        size_path=("banking77", "test"),
        least_size=_ROWS,
    ),
    Goal(
        "certified rules that exceed their target",
        ("splits", "exceeded_fraction"),
        5.0,
        "%",
        scale=100,
        size_path=("splits", "splits"),
        least_size=_SPLITS,
    ),
    Goal("tasks of that, graded ones among them", ("splits", "num_tasks"), 6, is_least=True),
    Goal(
        "streams in which a shift goes unnoticed for 300 requests",
        ("shift", "worst_missed"),
        0,
        size_path=("shift", "runs"),
        least_size=_RUNS,
    ),
)

_KIND_WORDS = {
    "ngram": "n-grams",
    "embedding": "frozen MiniLM, linear head",
    "encoder": "MiniLM, trained",
}


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "certified": _certified_table(document.get("banking77", {})),
        "splits": _splits_table(document.get("splits", {})),
        "shift": _shift_table(document.get("shift", {})),
        "circumstances": circumstances(document),
    }


def _certified_table(entry: dict[str, Any]) -> str:
    header = ("system", "target", "answered by the student", "escalated", "agreement", "bound")
    return markdown_table(header, [*_own_rows(entry), *_peer_rows(entry)])


def _own_rows(entry: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, by_target in entry.get("students", {}).items():
        chosen = " (chosen on validation rows)" if kind == entry["chosen"] else ""
        for target, found in by_target.items():
            coverage = found["coverage"]
            yield (
                f"{_KIND_WORDS[kind]}{chosen}",
                _percent(float(target), 0),
                f"{_percent(coverage['value'])} ({100 * coverage['low']:.1f} to "
                f"{100 * coverage['high']:.1f})",
                _percent(found["escalation"]),
                _percent(found["agreement"]),
                f"{_percent(1 - found['bound'], 2)} at 95 %",
            )


def _peer_rows(entry: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for peer in entry.get("peers", {}).get("systems", ()):
        of = f" {peer['agreement_is']}" if "agreement_is" in peer else ""
        yield (
            f"{peer['name']}, published",
            _percent(peer["target"], 0),
            _percent(1 - peer["escalation"]),
            _percent(peer["escalation"]),
            f"{_percent(peer['agreement'])}{of}",
            peer["guarantee"],
        )


def _splits_table(entry: dict[str, Any]) -> str:
    header = (
        "task",
        "rows",
        "student alone",
        "target",
        "answered",
        "refused",
        "exceeded",
        "naive rule",
        "other half",
        "naive, other half",
        "interval of answered held",
    )
    rows = []
    for name, found in entry.get("tasks", {}).items():
        of = f" of {found['splits']}"
        rows.append(
            (
                f"{name}{' (graded)' if found['is_graded'] else ''}",
                f"{found['rows']:,}",
                _percent(found["student_agreement"]),
                _percent(found["target"]),
                _percent(found["coverage"]),
                str(found["refused"]),
                f"{found['exceeded']}{of}",
                f"{found['naive_exceeded']}{of}",
                f"{found['half_exceeded']}{of}",
                f"{found['naive_half_exceeded']}{of}",
                f"{found['coverage_interval_held']}{of}",
            )
        )
    return markdown_table(header, rows)


def _shift_table(entry: dict[str, Any]) -> str:
    header = (
        "student",
        "shifted",
        "streams",
        "unnoticed",
        "requests to the fall-back",
        "answered wrongly until then",
    )
    rows = []
    for kind, found in entry.get("students", {}).items():
        for share, one in {"1": found, **found["mixed"]}.items():
            rows.append(
                (
                    _KIND_WORDS[kind],
                    _percent(float(share), 0),
                    str(one["runs"]),
                    str(one["missed"]),
                    _delay(one["delay"]),
                    f"{one['wrong_until_then']:.1f}",
                )
            )
        quiet = f"{found['quiet_alarms']} false alarms in {found['quiet_requests']:,} requests"
        rows.append((_KIND_WORDS[kind], "0 %", str(found["runs"]), "", quiet, ""))
    return markdown_table(header, rows)


def _delay(delay: dict[str, float | None]) -> str:
    if delay["median"] is None:
        return "never"
    return (
        f"{delay['median']:.0f} at the median, {delay['p95']:.0f} in one of twenty, "
        f"{delay['most']:.0f} at most"
    )


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"
