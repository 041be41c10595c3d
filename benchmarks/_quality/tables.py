"""The goals of quality and the tables of `docs/benchmarks.md` on it, out of the results alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances

_SIZE: dict[str, Any] = {"size_path": ("students", "seeds"), "least_size": 3}
_KD = ("students", "kd_over_seqkd_text_kl")
_OWN = ("students", "onpolicy_over_kd_own_kl")

GOALS = (
    Goal("KL on held-out texts, cached KD over sequence-level KD", (*_KD, "most"), 0.75, **_SIZE),
    Goal(
        "intervals of these that overlap, over all seeds",
        (*_KD, "overlapping_intervals"),
        0,
        **_SIZE,
    ),
    Goal(
        "fall of the KL on the student's own texts, on-policy",
        (*_OWN, "fall"),
        30,
        "%",
        is_least=True,
        scale=100,
        **_SIZE,
    ),
    Goal(
        "intervals of before and after that overlap", (*_OWN, "overlapping_intervals"), 0, **_SIZE
    ),
    Goal(
        "rise of the held-out NLL, on-policy",
        ("students", "onpolicy_over_kd_text_nll", "change"),
        1,
        "%",
        scale=100,
        **_SIZE,
    ),
)

_WORDS = {
    "untrained": "untrained",
    "seqkd": "sequence-level KD (text)",
    "kd": "cached KD",
    "onpolicy": "cached KD, then on-policy",
    "kd_longer": "cached KD, then as many tokens of it again",
}


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "students": students_table(document.get("students", {})),
        "circumstances": circumstances(document),
    }


def students_table(students: dict[str, Any]) -> str:
    """Each arm's figures: the mean of its seeds, and the ends that hold all their intervals."""
    header = (
        "student",
        "KL, teacher's texts",
        "NLL, teacher's texts",
        "KL, own texts",
        "reverse KL, own texts",
        "tokens learnt",
        "seconds",
    )
    found = students.get("arms", {})
    return markdown_table(header, (tuple(_cells(*item)) for item in found.items()))


def _cells(arm: str, seeds: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield _WORDS[arm]
    for figure in ("text_kl", "text_nll", "own_kl", "own_reverse_kl"):
        intervals = [seed[figure] for seed in seeds]
        mean = sum(one["value"] for one in intervals) / len(intervals)
        low, high = min(one["low"] for one in intervals), max(one["high"] for one in intervals)
        yield f"{mean:.3f} ({low:.3f} to {high:.3f})"
    for figure in ("student_tokens", "seconds"):
        yield f"{sum(seed[figure] for seed in seeds) / len(seeds):,.0f}"
