"""The tables of `docs/benchmarks.md` on protection, out of the results alone."""

from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances
from benchmarks._protect import student_tables
from benchmarks._protect.traffic import clusters_table, windows_table

_ALARMS = ("alarms", "width 4, without common ones", "0.001")
_DOCUMENTS = {"size_path": ("alarms", "documents"), "least_size": 20_000}
_OURS = ("speed", "tokens_per_s")
_TAILS = ("two keys, alpha 0.1", "70 % of the tokens at weight 0.1", "SynthID, weighted layers")
_TEXTS = {"size_path": ("power", "texts"), "least_size": 500}


def _found(words: str, path: tuple[str, ...], least: float) -> Goal:
    """At least so many per cent, of the part `power`."""
    return Goal(words, ("power", *path), least, "%", is_least=True, scale=100, **_TEXTS)


SCHEMES = ("gumbel", "dual_gumbel", "kgw", "synthid")
GOALS = (
    Goal("tokens/s from ids", (*_OURS, "gumbel", "median"), 2e6, is_least=True),
    Goal("tokens/s from text", (*_OURS, "gumbel, from text", "median"), 3e5, is_least=True),
    Goal(
        "times transformers' KGW detector",
        ("speed", "times_as_fast", "transformers KGW"),
        1_000,
        is_least=True,
    ),
    *(
        Goal(
            "false alarms at 1e-3, of 1,000 texts",
            (*_ALARMS, "mean"),
            limit,
            is_least=is_least,
            scale=1e3,
            **_DOCUMENTS,
        )
        for limit, is_least in ((0.8, True), (1.2, False))
    ),
    Goal("spread over keys by that of chance", (*_ALARMS, "spread_ratio"), 1.5, **_DOCUMENTS),
    *(
        Goal(f"error of log10 p down to 1e-10: {case}", ("tails", case, "worst"), 0.05)
        for case in _TAILS
    ),
    _found("found of 50 marked tokens, 2 nats", ("by_length", "2", "50", "found"), 95),
    _found("found of 100 marked tokens, 2 nats", ("by_length", "2", "100", "found"), 99),
    _found("found of 200 marked tokens, 0.5 nats", ("by_length", "0.5", "200", "found"), 95),
    Goal(
        "forecast less what was found, at most",
        ("power", "by_length", "worst_forecast_error"),
        3,
        "points",
        scale=100,
        **_TEXTS,
    ),
    *(
        _found(
            f"found of 200 tokens, {share} % replaced, width 2",
            ("edits", f"width 2, {share}% replaced"),
            limit,
        )
        for share, limit in ((20, 95), (40, 80))
    ),
    _found("100 marked of 1,000 tokens found within 25", ("mixed", "found_within_25_tokens"), 90),
    _found("1 of 1,000 customers named, 200 tokens of 1 nat", ("customers", "1 nats", "right"), 95),
    Goal("seconds for that", ("power", "customers", "1 nats", "median_s"), 1, "s"),
    *(
        Goal(
            f"time with {scheme}, batch of {batch}, by that without",
            ("overhead", "overhead", scheme, f"batch_{batch}", "processor_ratio"),
            105,
            "%",
            scale=100,
        )
        for scheme in SCHEMES
        for batch in (1, 8)
    ),
)


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, (*GOALS, *student_tables.GOALS)),
        "speed": _speed(document.get("speed")),
        "alarms": _alarms(document.get("alarms")),
        "tails": _tails(document.get("tails")),
        "power": _power(document.get("power")),
        "real": _real(document.get("real")),
        "drift": _drift(document.get("drift")),
        **student_tables.tables(document),
        "traffic": clusters_table(document.get("traffic")),
        "windows": windows_table(document.get("windows")),
        "circumstances": circumstances(document),
    }


def _speed(entry: dict[str, Any] | None) -> str:
    header = ("", "tokens/s", "ours, gumbel, by that")
    if entry is None:
        return markdown_table(header, ())
    ours = [
        (f"stillhouse, {name}", f"{speed['median']:,.0f}", "")
        for name, speed in entry["tokens_per_s"].items()
    ]
    peers = [
        (
            f"{name} ({peer['version']})",
            f"{peer['tokens_per_s']:,.0f}",
            f"{entry['times_as_fast'][name]:,.0f}",
        )
        for name, peer in entry["peers"].items()
    ]
    return markdown_table(header, [*ours, *peers])


def _alarms(entry: dict[str, Any] | None) -> str:
    header = ("", "level", "mean over keys", "worst key", "spread by chance's", "tokens counted")
    rows = []
    for name, found in (entry or {}).items():
        if not name.startswith("width"):
            continue
        for level in ("0.01", "0.001", "0.0001"):
            cell = found[level]
            rows.append(
                (
                    name,
                    level,
                    f"{cell['mean']:.2g} ± {cell['standard_error']:.1g}",
                    f"{cell['worst_key']:.2g}",
                    f"{cell['spread_ratio']:.2f}",
                    f"{found['scored_fraction']:.0%}",
                )
            )
    return markdown_table(header, rows)


def _tails(entry: dict[str, Any] | None) -> str:
    header = ("largest error of log10 p", "ours", "a Gamma law of the same variance")
    rows = [
        (
            name,
            f"{found['worst']:.4f}",
            "" if (peer := found["worst_moment_matched"]) is None else f"{peer:.4f}",
        )
        for name, found in (entry or {}).items()
        if name != "circumstances"
    ]
    return markdown_table(header, rows)


def _power(entry: dict[str, Any] | None) -> str:
    lengths = ("25", "50", "100", "200")
    header = ("found at 1e-3, forecast", *(f"{length} tokens" for length in lengths))
    rows = [
        (
            f"{entropy} nats",
            *(f"{row[length]['found']:.1%}, {row[length]['forecast']:.1%}" for length in lengths),
        )
        for entropy, row in (entry or {"by_length": {}})["by_length"].items()
        if isinstance(row, dict)
    ]
    return markdown_table(header, rows)


def _real(entry: dict[str, Any] | None) -> str:
    header = ("", "tokens", "texts", "found from ids", "from text", "forecast", "false alarms")
    rows = [
        (
            scheme,
            length,
            str(row["texts"]),
            f"{row['from_ids']:.0%}",
            f"{row['from_text']:.0%}",
            f"{row['forecast']:.0%}" if "forecast" in row else "",
            f"{row['false_alarms']:.1%}",
        )
        for scheme in SCHEMES
        for length, row in (entry or {}).get(scheme, {}).items()
    ]
    return markdown_table(header, rows)


def _drift(entry: dict[str, Any] | None) -> str:
    words = {
        "nats_per_token": "nats a token",
        "tokens": "tokens",
        "cut_share": "cut, points",
        "distinct_1": "distinct tokens",
        "distinct_2": "distinct pairs",
        "distinct_3": "distinct triples",
    }
    header = ("change, % (95 % interval)", *words.values())
    rows = [
        (
            name,
            *(
                "{:+.1f} ({:+.1f} to {:+.1f})".format(
                    100 * found[key]["change"], *(100 * end for end in found[key]["interval"])
                )
                for key in words
            ),
        )
        for name, found in (entry or {"changes": {}})["changes"].items()
    ]
    return markdown_table(header, rows)
