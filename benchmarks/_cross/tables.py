"""The goals across tokenizers and the tables of `docs/benchmarks.md`, out of the results alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances

_CROSS = {
    "other tokenizer, alm": "gain from the actual tokens' log-probabilities (ALM)",
    "other tokenizer, forward_kl": "gain from aligned top-32 distributions",
}

GOALS = tuple(
    Goal(
        f"{words}, of the same tokenizer's, least of the seeds",
        ("students", "arms", name, "share_of_same_tokenizer", "least"),
        90,
        "%",
        is_least=True,
        scale=100,
        size_path=("students", "seeds"),
        least_size=3,
    )
    for name, words in _CROSS.items()
)


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "students": students_table(document.get("students", {})),
        "circumstances": circumstances(document),
    }


def students_table(students: dict[str, Any]) -> str:
    """Each arm's figures: the mean of its seeds, and the ends that hold all of them."""
    header = (
        "student",
        "untrained, nats/byte",
        "trained, nats/byte",
        "gap to the teacher closed",
        "of the same tokenizer's gain",
    )
    rows = (tuple(_cells(name, arm)) for name, arm in students.get("arms", {}).items())
    return markdown_table(header, rows)


def _cells(name: str, arm: dict[str, Any]) -> Iterator[str]:
    yield name
    yield f"{arm['untrained_nats_per_byte']:.3f}"
    yield _spread(arm["nats_per_byte"], ".3f")
    yield _spread(arm["gap_closed"], ".1%")
    share = arm["share_of_same_tokenizer"]
    yield f"{share['mean']:.1%} (least {share['least']:.1%})" if share else ""


def _spread(values: Sequence[float], form: str) -> str:
    mean = sum(values) / len(values)
    return f"{mean:{form}} ({min(values):{form}} to {max(values):{form}})"
