"""The page on judging says what the code does."""

import re
from pathlib import Path

import stillhouse.evaluate
from stillhouse.evaluate._task import PredictionRow, TaskEvaluateConfig
from stillhouse.evaluate._task._report._words import VERDICTS

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation_task.md").read_text(encoding="utf-8")


def test_every_setting_is_in_the_table() -> None:
    table = PAGE[PAGE.index("## Settings") : PAGE.index("## What is refused")]
    named = set(re.findall(r"`(\w+)`", re.sub(r"\|[^|]*\|[^|]*\|\n", "|\n", table)))
    assert set(TaskEvaluateConfig.model_fields) <= named


def test_defaults_in_the_table_are_those_of_the_settings() -> None:
    config = TaskEvaluateConfig()
    for name in ("min_rows", "latency_messages", "batch_size", "num_failures", "num_bins"):
        row = re.search(rf"\| `{name}` \| (\S+) \|", PAGE)
        assert row is not None
        assert row[1] == str(getattr(config, name))
    assert f"| `usd_per_core_hour` | {config.usd_per_core_hour:g} |" in PAGE


def test_the_columns_of_predictions_are_named() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("| `predictions-*"))
    assert re.findall(r"`(\w+)`", line)[0:] == list(PredictionRow.model_fields)


def test_the_verdicts_are_those_of_the_report() -> None:
    for word in VERDICTS.values():
        assert f"| {word} |" in PAGE


def test_the_example_uses_public_names() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    compile(block, "docs/evaluation_task.md", "exec")
    (names,) = re.findall(r"from stillhouse.evaluate import (.*)", block)
    for name in names.split(", "):
        assert name in stillhouse.evaluate.__all__
