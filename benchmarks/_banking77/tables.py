"""The goals of task students and the tables of `docs/benchmarks.md` on them."""

from collections.abc import Iterator
from typing import Any

from benchmarks._banking77.rows import GOLD_SETS
from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances

_ROWS = 3_075
_SIZE: dict[str, Any] = {"size_path": ("banking77", "test"), "least_size": _ROWS}
_BEST = ("banking77", "best")

GOALS = (
    Goal(
        "agreement with the recorded teacher, mean of seeds",
        (*_BEST, "agreement", "value"),
        90.0,
        "%",
        is_least=True,
        scale=100,
        **_SIZE,
    ),
    Goal("seeds", (*_BEST, "seeds"), 3, is_least=True, **_SIZE),
    Goal("making it, on two cores", (*_BEST, "seconds"), 30, "min", scale=1 / 60, **_SIZE),
    Goal("one message alone, median", (*_BEST, "latency_ms"), 2, "ms", **_SIZE),
    Goal(
        "seeds not shown non-inferior to the teacher at 2 points, against gold",
        (*_BEST, "not_shown_non_inferior"),
        0,
        **_SIZE,
    ),
    Goal(
        "lost by 50 % corrupted labels",
        ("noise", "drop_points"),
        3,
        "points",
        size_path=("noise", "test"),
        least_size=_ROWS,
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
        "students": _students_table(document.get("banking77", {})),
        "noise": _noise_table(document.get("noise", {})),
        "others": _others_table(document),
        "rewriting": _rewriting_table(document.get("disfl_qa", {})),
        "circumstances": circumstances(document),
    }


def _students_table(entry: dict[str, Any]) -> str:
    header = ("system", "parameters", "as the teacher", "right", "verdict", "ms", "making it")
    return markdown_table(header, [*_own_rows(entry), *_peer_rows(entry)])


def _own_rows(entry: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, found in entry.get("students", {}).items():
        verdicts = sorted({one["verdict"].replace("_", "-") for one in found["against_teacher"]})
        chosen = " (chosen on validation rows)" if kind == entry["chosen"] else ""
        yield (
            f"{_KIND_WORDS[kind]}{chosen}",
            _millions(found["students"][0]["parameters"]),
            _percent(found["agreement"]),
            _percent(found["gold"]),
            ", ".join(verdicts),
            f"{found['latency_ms']:.2f}",
            _minutes(found["seconds"]),
        )
    if "teacher" in entry:
        teacher = entry["teacher"]
        yield teacher["name"], "", "itself", _percent(teacher["gold"]), "", "", ""


def _peer_rows(entry: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for peer in entry.get("peers", {}).get("systems", ()):
        yield (
            f"{peer['name']}, published",
            _millions(peer["parameters"]) if "parameters" in peer else "",
            f"{100 * peer['agreement']:.1f} %",
            f"{100 * peer['gold']:.1f} %",
            "",
            f"{peer['latency_ms']:.1f}" if "latency_ms" in peer else "",
            _minutes(peer["seconds"]) if "seconds" in peer else "",
        )


def _noise_table(entry: dict[str, Any]) -> str:
    header = ("student", "clean", "corrupted, left alone", "corrupted, corrected", "lost")
    rows = [
        (
            _KIND_WORDS[kind],
            *(_percent(found[name]["agreement"]) for name in header[1:4]),
            f"{found['drop_points']:.1f} points",
        )
        for kind, found in entry.get("students", {}).items()
    ]
    return markdown_table(header, rows)


def _others_table(document: dict[str, Any]) -> str:
    header = ("data", "student", "rows", "right", "out of scope found", "ms", "making it")
    rows = []
    for name in GOLD_SETS:
        entry = document.get(name, {})
        for kind, found in entry.get("students", {}).items():
            scope = found["by_scope"]
            right = [_percent(found["gold"])]
            recall = ""
            if scope:
                right = [f"{_mean(scope['in_scope_accuracy'])} in scope"]
                recall = _mean(scope["out_of_scope_recall"])
            rows.append(
                (
                    name,
                    _KIND_WORDS[kind],
                    f"{entry['train']:,} + {entry['test']:,}",
                    *right,
                    recall,
                    f"{found['latency_ms']:.2f}",
                    _minutes(found["seconds"]),
                )
            )
    return markdown_table(header, rows)


def _rewriting_table(entry: dict[str, Any]) -> str:
    header = ("system", "exactly right", "edit similarity")
    rows = [
        (name, _percent(found["exact"]), _percent(found["edit_similarity"]))
        for name, found in entry.get("systems", {}).items()
    ]
    return markdown_table(header, rows)


def _percent(interval: dict[str, float]) -> str:
    value, low, high = (100 * interval[end] for end in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def _mean(intervals: list[dict[str, float]]) -> str:
    """The mean of seeds, and the ends that hold all their intervals."""
    value = sum(one["value"] for one in intervals) / len(intervals)
    low, high = min(one["low"] for one in intervals), max(one["high"] for one in intervals)
    return _percent({"value": value, "low": low, "high": high})


def _millions(parameters: float) -> str:
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.1f} M"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
