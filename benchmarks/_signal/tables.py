"""The tables of `docs/benchmarks.md` on the signal store, out of the results alone."""

from collections.abc import Iterator
from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances

FIXED = "topk, K = 32"
FEW = "adaptive, K <= 32, tail 0.5 %"
RELATIVE = "relative, K <= 512, threshold 0.012"
NEAR = "teacher with noise"
TRAINED = "student in training"
DECODED = ("decode_tokens_per_s", "shuffled")


def _goals() -> Iterator[Goal]:
    for text in ("chat", "headlines"):
        at = (text, "codecs")
        yield Goal(f"{text}: `{FIXED}`, each token", (*at, FIXED, "bytes_per_token"), 64, "B")
        yield Goal(f"{text}: `{FEW}`, each token", (*at, FEW, "bytes_per_token"), 32, "B")
        yield Goal(f"{text}: `{RELATIVE}`, each token", (*at, RELATIVE, "bytes_per_token"), 64, "B")
        for student in (NEAR, TRAINED):
            error = (text, "gradient_error", student, RELATIVE)
            words = f"{text}: error of its gradient, {student}"
            yield Goal(f"{words}, mean", (*error, "mean"), 3, "%", scale=100)
            yield Goal(f"{words}, p95", (*error, "p95"), 10, "%", scale=100)
            yield Goal(f"{words}, bias", (*error, "bias"), 1, "%", scale=100)
        for codec in (FIXED, RELATIVE):
            words = f"{text}: tokens/s read of `{codec}`"
            yield Goal(words, (*at, codec, *DECODED), 200_000, is_least=True)


GOALS = tuple(_goals())


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "bytes": bytes_table(document),
        "errors": errors_table(document),
        "circumstances": circumstances(document),
    }


def bytes_table(document: dict[str, Any]) -> str:
    """Bytes and ids per token of every codec, by text, and the speed of reading the first text."""
    labels = {label: None for entry in document.values() for label in entry["codecs"]}

    def cells(label: str) -> Iterator[str]:
        yield f"`{label}`"
        for entry in document.values():
            figures = entry["codecs"][label]
            ids = figures["ids_per_token"]
            yield f"{figures['bytes_per_token']:.1f}" + (f" ({ids:.1f} ids)" if ids else "")
        yield f"{_first(document)['codecs'][label]['decode_tokens_per_s']['shuffled']:,.0f}"

    header = ("bytes a token", *document, "tokens/s read")
    return markdown_table(header, (tuple(cells(label)) for label in labels))


def errors_table(document: dict[str, Any]) -> str:
    """Mean and 95th percentile of the gradient's error in percent, by text and student."""
    columns = [(text, name) for text, entry in document.items() for name in entry["gradient_error"]]

    def of(text: str, student: str) -> dict[str, Any]:
        found: dict[str, Any] = document[text]["gradient_error"][student]
        return found

    labels = {
        label: None
        for column in columns
        for label, figures in of(*column).items()
        if isinstance(figures, dict)
    }
    rows = [
        (
            f"`{label}`",
            *(
                f"{100 * of(*column)[label]['mean']:.1f} / {100 * of(*column)[label]['p95']:.1f}"
                for column in columns
            ),
        )
        for label in labels
    ]
    away = ("nats away", *(f"{of(*column)['kl_nats']:.3f}" for column in columns))
    header = ("mean / p95, %", *(f"{text}, {student}" for text, student in columns))
    return markdown_table(header, [away, *rows])


def _first(document: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = next(iter(document.values()), {"codecs": {}})
    return entry
