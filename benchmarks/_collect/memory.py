"""How much more memory a hundred times the prompts take."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks._collect.clients import answer_of, find_ours, write_prompts
from benchmarks._collect.options import Options
from tests.mock_provider import MockProcess

_SMALLER = 100


def run(options: Options) -> dict[str, Any]:
    """The peak of a whole collection, from the prompts to the artefact, at both sizes."""
    ours = find_ours(options.pythons)
    peaks: dict[int, float] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        MockProcess(is_fast=True, log="none") as mock,
    ):
        for number in (options.num_large // _SMALLER, options.num_large):
            prompts = write_prompts(Path(folder) / f"{number}.jsonl", number)
            ended = ours.ask(mock.url, prompts, Path(folder) / str(number), options.concurrency)
            assert answer_of(ended)["num_answers"] == number
            peaks[number] = round(ended.peak_rss_mb, 1)
    few, many = peaks.values()
    return {
        "num_prompts": options.num_large,
        "peak_rss_mb": {str(number): peak for number, peak in peaks.items()},
        "growth_mb": round(many - few, 1),
    }
