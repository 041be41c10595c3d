"""Titles of public-sector news: what real texts are written on."""

import json
from pathlib import Path


def news_titles(data: Path, count: int) -> list[str]:
    """So many of them, from the first on again where there are fewer."""
    with (data / "digitalgov_news" / "test.jsonl").open(encoding="utf-8") as stream:
        found = [str(json.loads(line)["title"]) for line in stream]
    return [found[number % len(found)] for number in range(count)]
