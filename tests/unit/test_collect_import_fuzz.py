"""Rows that are almost right: no value in any place may stop an import."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.collect import ImportConfig, import_completions
from stillhouse.collect._imports._source import read_source
from stillhouse.records import Completion

FIXTURES = Path(__file__).parents[1] / "fixtures" / "imports"
_JUNK: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        2**70,
        1e300,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\ud800",
        "{",
        "[1]",
        '{"a": 1}',
        '"',
    ),
    *([], [None], [1], [[]], [{}], ["x"], {}, {"type": "text"}, {"type": []}, {"role": "user"}),
    *({"data": [1]}, {"role": [], "content": {}}, {"function": {"name": 1}}, {"function": "x"}),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside of `value`."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in inner if isinstance(value, dict | list) else ():
        if isinstance(child, dict | list):
            yield from _places(child, (*path, key))
        else:
            yield (*path, key)


def _with(row: dict[str, Any], place: tuple[Any, ...], junk: Any) -> dict[str, Any]:
    changed = copy.deepcopy(row)
    target: Any = changed
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = junk
    return changed


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("openai", "openai_stored.jsonl"),
        ("openai-evals", "openai_evals.json"),
        ("anthropic", "anthropic_log.jsonl"),
        ("openpipe", "openpipe_logs.jsonl"),
        ("openpipe", "openpipe_dataset.jsonl"),
        ("langfuse", "langfuse_observations.json"),
        ("promptfoo", "promptfoo.jsonl"),
        ("plain", "plain.jsonl"),
    ],
)
def test_a_strange_value_in_any_place_drops_at_most_its_row(
    tmp_path: Path, name: str, file: str
) -> None:
    rows = [
        _with(source.value, place, junk)
        for source in read_source(FIXTURES / file)
        if isinstance(source.value, dict)
        for place in _places(source.value)
        for junk in _JUNK
    ]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    config = ImportConfig.model_validate({"format": name, "max_failure_fraction": 1.0})
    imported = import_completions(path, tmp_path / "out", config=config)
    counts = imported.manifest.counts
    assert counts.num_in == len(rows)
    assert sum(1 for _ in imported.rows("completions", Completion)) == counts.kept > 0
