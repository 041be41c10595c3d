"""The goals of training and the tables of `docs/benchmarks.md` on it, out of the results alone."""

from collections.abc import Iterator
from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances
from benchmarks._train.peers import OURS

_SPEED_SIZE = {"size_path": ("speed", "keep_layers"), "least_size": 15}

GOALS = (
    Goal(
        "trained tokens/s, times those of TRL's GKDTrainer",
        ("speed", "times_gkd", "median"),
        10,
        is_least=True,
        **_SPEED_SIZE,
    ),
    Goal(
        "the same as it comes, both in bfloat16",
        ("speed", "times_gkd_as_it_comes", "median"),
        10,
        is_least=True,
        **_SPEED_SIZE,
    ),
    Goal(
        "cached KD, times the tokens/s of our own SFT",
        ("pairs", "kd_over_sft", "median"),
        0.92,
        is_least=True,
        size_path=("pairs", "pairs"),
        least_size=12,
    ),
    Goal(
        "of the machine's float32 matmul rate, sustained in a step",
        ("speed", "share_of_matmul", "median"),
        60,
        "%",
        is_least=True,
        scale=100,
        **_SPEED_SIZE,
    ),
    Goal("extra peak memory of head and loss", ("memory", "head_extra_mb", "tiled"), 64, "MB"),
    Goal(
        "process, 135M parameters, KD on 4 x 512 tokens",
        ("memory", "step_rss_mb", "forward_kl, recomputed"),
        3_000,
        "MB",
    ),
)


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "trainers": trainers_table(document.get("speed", {})),
        "memory": memory_table(document.get("memory", {})),
        "circumstances": circumstances(document),
    }


def trainers_table(speed: dict[str, Any]) -> str:
    """Each trainer's speed and memory; medians of the turns."""

    def cells(name: str, figures: dict[str, Any]) -> Iterator[str]:
        package, version = next(iter(figures["versions"].items()))
        yield name
        yield f"{package} {version}"
        yield figures["learns_from"]
        yield f"{figures['tokens_per_s']['median']:,.1f}"
        ratio = speed["times_as_fast_as"].get(name)
        yield f"{ratio['median']:.1f}" if ratio else ("" if name == OURS.name else "not measured")
        yield f"{figures['peak_rss_mb']['median'] / 1_000:.1f} GB"

    header = ("", "version", "learns from", "tokens/s", "ours is so many times as fast", "peak")
    found = speed.get("trainers", {})
    return markdown_table(header, (tuple(cells(*item)) for item in found.items()))


def memory_table(memory: dict[str, Any]) -> str:
    """Peaks of a step of full fine-tuning, and how long the step took."""
    seconds: dict[str, float] = memory.get("step_s", {})
    rows = (
        (name, f"{mb / 1_000:.2f} GB", f"{seconds[name]:.1f} s")
        for name, mb in memory.get("step_rss_mb", {}).items()
    )
    return markdown_table(("4 x 512 tokens, 135M parameters", "peak", "a step"), rows)
