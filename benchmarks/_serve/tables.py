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
    Goal("cascade adds to its teacher, p50", ("overhead", "address", "added_p50_ms"), 3, "ms"),
    Goal("the same, p99", ("overhead", "address", "added_p99_ms"), 10, "ms"),
    Goal("through a ledger, p50", ("overhead", "ledger", "added_p50_ms"), 3, "ms"),
    Goal("the same, p99", ("overhead", "ledger", "added_p99_ms"), 10, "ms"),
    Goal(
        "longest answer with the teacher out, times the deadline",
        ("deadline", "longest_over_deadline"),
        1.25,
    ),
    Goal("answers then that are not documented", ("deadline", "undocumented"), 0),
    *(
        Goal(f"soak: {words}", ("soak", name), 0, size_path=("soak", "minutes"), least_size=60)
        for words, name in (
            ("requests lost", "lost"),
            ("answers that are not documented", "undocumented"),
            ("requests that server and clients count differently", "miscounted"),
        )
    ),
    Goal("soak: calls left open in the ledger", ("soak", "ledger", "open"), 0),
    Goal(
        "soak: growth of the server's memory",
        ("soak", "rss_growth"),
        5,
        "%",
        scale=100,
        size_path=("soak", "minutes"),
        least_size=60,
    ),
)


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "labels": labels_table(document.get("labels", {})),
        "streams": streams_table(document.get("streams", {})),
        "overhead": overhead_table(document.get("overhead", {})),
        "deadline": deadline_table(document.get("deadline", {})),
        "soak": soak_table(document.get("soak", {})),
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


def overhead_table(entry: dict[str, Any]) -> str:
    """The teacher asked directly, and both routes of a cascade before it."""
    header = ("teacher", "asked", "requests", "p50, ms", "p99, ms", "added p50", "added p99")
    rows = []
    for way in ("address", "ledger"):
        if way not in entry:
            continue
        found = entry[way]
        rows.append((way, "directly", *_times(found["direct"]), "", ""))
        added = (f"{found['added_p50_ms']:.2f}", f"{found['added_p99_ms']:.2f}")
        rows.append((way, "by the cascade", *_times(found["teacher"]), *added))
        if "student" in found:
            rows.append((way, "not: the student's", *_times(found["student"]), "", ""))
    return markdown_table(header, rows)


def _times(found: dict[str, Any]) -> tuple[str, str, str]:
    return f"{found['requests']:,}", f"{found['p50_ms']:.2f}", f"{found['p99_ms']:.2f}"


def deadline_table(entry: dict[str, Any]) -> str:
    """What 32 requests get while the teacher is out."""
    header = ("the teacher", "statuses", "longest, s")
    rows = [
        (
            way,
            ", ".join(f"{number} x {status}" for status, number in found["statuses"].items()),
            f"{found['longest_s']:.2f}",
        )
        for way, found in entry.get("ways", {}).items()
    ]
    return markdown_table(header, rows)


def soak_table(entry: dict[str, Any]) -> str:
    """What became of all requests, and of the memory."""
    if "sent" not in entry:
        return markdown_table(("what", "value"), [])
    ended = ", ".join(f"{number:,} x {how}" for how, number in entry["ended"].items())
    rss = entry["rss_mb"]
    rows = [
        ("minutes, requests a second", f"{entry['minutes']:g}, {entry['rate']}"),
        ("requests", f"{sum(entry['sent'].values()):,}"),
        ("ended", ended),
        ("lost, undocumented, miscounted", _three(entry)),
        (
            "calls in the ledger, left open",
            f"{entry['ledger']['calls']:,}, {entry['ledger']['open']}",
        ),
        ("memory at the beginning and end, MB", f"{rss['first']:.1f}, {rss['last']:.1f}"),
    ]
    return markdown_table(("what", "value"), rows)


def _three(entry: dict[str, Any]) -> str:
    return ", ".join(str(entry[name]) for name in ("lost", "undocumented", "miscounted"))
