"""Real prompts, as two halves that share no data set: one to fit on, one to measure on."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stillhouse.traffic.simulate import Area, Half

_MAX_CHARS = 1_500
_LEAST_TEXTS = 20  # of an area
Row = dict[str, Any]
Read = Callable[[Path], Iterator[tuple[str, str]]]


def areas(data: Path, half: Half) -> dict[str, Area]:
    """The areas of one half: a data set, or one of its categories."""
    texts: dict[tuple[str, str], list[str]] = {}
    for source, read in _HALVES[half].items():
        for category, text in read(data):
            if text.strip():
                texts.setdefault((source, category), []).append(text.strip()[:_MAX_CHARS])
    found: dict[str, list[str]] = {}
    for (source, category), some in texts.items():
        # What is too small to be an area of its own is put together.
        name = f"{source}/{category}" if len(some) >= _LEAST_TEXTS else f"{source}/others"
        found.setdefault(name, []).extend(some)
    return {name: Area(name.split("/")[0], tuple(some)) for name, some in sorted(found.items())}


def _lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def _jsonl(name: str, text: str, category: str | None = None) -> Read:
    def read(data: Path) -> Iterator[tuple[str, str]]:
        for row in _lines(data / name):
            yield (str(row[category]) if category else "all"), str(row[text])

    return read


def _csv(name: str, text: str, category: str | None = None) -> Read:
    def read(data: Path) -> Iterator[tuple[str, str]]:
        with (data / name).open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                yield (row[category] if category else "all"), row[text]

    return read


_HALVES: dict[Half, dict[str, Read]] = {
    "fit": {
        "banking77": _csv("banking77/train.csv", "text", "category"),
        "gsm8k": _jsonl("gsm8k/train.jsonl", "question"),
        "webquestions": _jsonl("webquestions/data.jsonl", "question"),
        "dolly": _jsonl("dolly_hhrlhf_small/train.jsonl", "instruction"),
        "disfl_qa": _jsonl("disfl_qa/train.jsonl", "input"),
        "digitalgov_news": _jsonl("digitalgov_news/train.jsonl", "summary"),
        "paradetox": _jsonl("paradetox/train.jsonl", "input"),
        "mbpp": _jsonl("eval_mbpp_sanitized/sanitized_mbpp.jsonl", "prompt"),
        "scitldr": _jsonl("scitldr/train.jsonl", "document"),
    },
    "test": {
        "clinc150": _jsonl("clinc150/train.jsonl", "text", "domain"),
        "arena_hard": _jsonl("arena_hard_v01/question.jsonl", "prompt"),
        "truthfulqa": _csv("eval_truthfulqa/TruthfulQA.csv", "Question"),
        "pubmedqa": _jsonl("pubmedqa_l/data.jsonl", "question"),
        "sentence_polarity": _jsonl("sentence_polarity/train.jsonl", "text"),
        "sms": _jsonl("sms_spam/train.jsonl", "text"),
        "humaneval": _jsonl("eval_humaneval/HumanEval.jsonl", "prompt"),
        "moderation": _jsonl("openai_moderation/test.jsonl", "text"),
        "self_instruct": _jsonl("self_instruct_seed/seed_tasks.jsonl", "instruction"),
    },
}
