"""The tables of `docs/benchmarks.md` on exports, out of the results alone."""

from collections.abc import Iterator
from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances

FORMATS = ("gguf-f16", "gguf-q8_0", "gguf-q4_k")


def _goals() -> Iterator[Goal]:
    for name in FORMATS:
        at = (name, "identical_conversations", "value")
        yield Goal(f"{name}: conversations with the same ids, all of", at, 200, is_least=True)
        limit = 0.1 if name == "gguf-q4_k" else 0.005
        yield Goal(f"{name}: mean KL", (name, "mean_kl_nats", "value"), limit, "nats")
        if name != "gguf-q4_k":
            same = (name, "same_top1", "value")
            yield Goal(f"{name}: same choice", same, 99.5, "%", is_least=True, scale=100)


GOALS = tuple(_goals())


def tables(document: dict[str, Any]) -> dict[str, str]:
    """All tables by name."""
    return {
        "goals": goals_table(document, GOALS),
        "formats": formats_table(document),
        "circumstances": circumstances(document),
    }


def formats_table(document: dict[str, Any]) -> str:
    """Each format by llama.cpp, and by what transformers reads of it."""
    header = ("format", "MB", "computed by", "same choice, %", "mean KL, nats", "99th percentile")
    rows = [
        (
            f"`{name}`",
            f"{document[name]['bytes'] / 1e6:,.1f}",
            who,
            _with_interval(document[name][f"{by}same_top1"], scale=100, digits=1),
            _with_interval(document[name][f"{by}mean_kl_nats"], scale=1, digits=6),
            f"{document[name][f'{by}p99_kl_nats']['value']:.5f}",
        )
        for name in FORMATS
        if name in document
        for who, by in (("llama.cpp", ""), ("transformers", "transformers_"))
    ]
    return markdown_table(header, rows)


def _with_interval(figure: dict[str, Any], *, scale: float, digits: int) -> str:
    value, low, high = (scale * figure[part] for part in ("value", "low", "high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
