"""The tables of `docs/benchmarks.md` on serving, out of the results alone."""

from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances

GOALS = (
    Goal(
        "decisions a second, n-gram student",
        ("labels", "ngram", "flood", "requests_per_s"),
        2000,
        is_least=True,
    ),
    Goal(
        "text on 8 streams, times transformers' static batch",
        ("streams", "times", "stillhouse", "transformers"),
        1,
        is_least=True,
    ),
    Goal(
        "text on 8 streams, times llama.cpp on the same weights",
        ("streams", "times", "stillhouse", "llama.cpp"),
        0.8,
        is_least=True,
    ),
    Goal(
        "the same of a GGUF file",
        ("streams", "times", "stillhouse, gguf", "llama.cpp"),
        0.8,
        is_least=True,
    ),
)


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "labels": labels_table(document.get("labels", {})),
        "streams": streams_table(document.get("streams", {})),
        "circumstances": circumstances(document),
    }


def labels_table(entry: dict[str, Any]) -> str:
    """Each student that answers with labels, flooded and at a fixed rate."""
    header = ("student", "requests a second", "p99 then, ms", "p50 at the rate, ms", "p99, ms")
    rows = [
        (
            kind,
            f"{found['flood']['requests_per_s']:,.0f}",
            f"{found['flood']['p99_ms']:.1f}",
            f"{found['at_rate']['p50_ms']:.2f}",
            f"{found['at_rate']['p99_ms']:.2f}",
        )
        for kind, found in entry.items()
        if kind != "circumstances"
    ]
    return markdown_table(header, rows)


def streams_table(entry: dict[str, Any]) -> str:
    """Who writes on parallel streams, and how fast."""
    header = ("who", "tokens a second, as a multiple of transformers'", "first token, s")
    best = entry.get("best", {})
    rows = [
        (
            who,
            f"{found['tokens_per_s'] / best['transformers']['tokens_per_s']:.2f}",
            f"{found['first_token_s']:.2f}" if "first_token_s" in found else "",
        )
        for who, found in best.items()
    ]
    return markdown_table(header, rows)
