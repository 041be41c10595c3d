"""Figures that no manifest holds: counted in the rows of datasets and completions.

Columns are read whole and worked on by Arrow, so that a million rows take seconds.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError

_EXAMPLES = ("prompt_id", "request_id", "messages", "completion", "split", "group")
_CALLS = ("request_id", "teacher", "model", "created_utc", "usage")
_TOKENS = ("prompt_tokens", "completion_tokens")
_OF_TRAINING = ("train_rows", "train_tokens")


def example_figures(dataset: Artifact, sources: Sequence[Artifact]) -> dict[str, Any]:
    """What a dataset's rows are, and who wrote them.

    Args:
        dataset: Of kind dataset.
        sources: The completions that its rows may come from.

    Returns:
        `rows`, `splits` (rows by split), `groups` and `prompts` (distinct), `train_bytes` (UTF-8 of
        prompts and completions to train on), `untraced` (rows whose call is in no source), and
        `models`: one entry for each teacher and model that wrote rows, as `_by_model` has it.
    """
    table = _columns(dataset, "examples", _EXAMPLES)
    train = table.filter(pc.equal(table["split"], "train"))
    calls = _calls(sources)
    joined = table.select(["request_id", "split"]).join(calls, "request_id", join_type="left outer")
    traced = joined.filter(pc.is_valid(joined["model"]))
    return {
        "rows": table.num_rows,
        "splits": dict(sorted(_counts(table["split"]).items())),
        "groups": len(pc.unique(pc.drop_null(table["group"]))),
        "prompts": len(pc.unique(table["prompt_id"])),
        "train_bytes": _bytes(_contents(train["messages"])) + _bytes(train["completion"]),
        "untraced": table.num_rows - traced.num_rows,
        "models": _by_model(traced),
    }


def completion_figures(completions: Artifact) -> dict[str, Any]:
    """`rows`, and `models` as of a dataset, of an artefact of completions."""
    calls = _calls([completions])
    return {"rows": calls.num_rows, "models": _by_model(calls)}


def _by_model(calls: pa.Table) -> list[dict[str, Any]]:
    """For each teacher and model: rows, those for training, tokens, first and last call."""
    if "split" in calls.column_names:
        is_train = pc.cast(pc.equal(calls["split"], "train"), pa.int64())
        tokens = pc.add(calls["prompt_tokens"], calls["completion_tokens"])
        calls = calls.append_column("train_rows", is_train)
        calls = calls.append_column("train_tokens", pc.multiply(tokens, is_train))
    sums = [name for name in (*_TOKENS, *_OF_TRAINING) if name in calls.column_names]
    grouped = calls.group_by(["teacher", "model"]).aggregate(
        [
            ([], "count_all"),
            ("created_utc", "min"),
            ("created_utc", "max"),
            *((name, "sum") for name in sums),
        ]
    )
    found = [
        {
            "teacher": row["teacher"],
            "model": row["model"],
            "rows": row["count_all"],
            **{name: row[f"{name}_sum"] for name in sums},
            "first_utc": _utc(row["created_utc_min"]),
            "last_utc": _utc(row["created_utc_max"]),
        }
        for row in grouped.to_pylist()
    ]
    return sorted(found, key=lambda row: (row["teacher"], row["model"]))


def _calls(sources: Sequence[Artifact]) -> pa.Table:
    """Each call of the completions once: who answered, when, in how many tokens."""
    tables = [_columns(source, "completions", _CALLS) for source in sources]
    if not tables:
        tables = [_NO_CALLS]
    flat = [_flat(table) for table in tables]
    # A round joins completions, so that a call may be in several artefacts of one lineage.
    columns = [(name, "first") for name in flat[0].column_names if name != "request_id"]
    once = pa.concat_tables(flat).group_by("request_id", use_threads=False).aggregate(columns)
    return once.rename_columns([name.removesuffix("_first") for name in once.column_names])


def _flat(table: pa.Table) -> pa.Table:
    usage = table["usage"]
    for name in _TOKENS:
        table = table.append_column(name, pc.struct_field(usage, name))
    return table.drop_columns(["usage"])


_NO_CALLS = pa.table(
    {
        "request_id": pa.array([], pa.string()),
        "teacher": pa.array([], pa.string()),
        "model": pa.array([], pa.string()),
        "created_utc": pa.array([], pa.timestamp("us", tz="UTC")),
        "usage": pa.array([], pa.struct([(name, pa.int64()) for name in _TOKENS])),
    }
)


def _columns(artifact: Artifact, stem: str, names: Sequence[str]) -> pa.Table:
    tables = []
    for entry in artifact.manifest.files:
        if entry.rows is None or not entry.name.startswith(f"{stem}-"):
            continue
        path = artifact.path / entry.name
        try:
            found = pq.ParquetFile(path)
            known = [name for name in names if name in found.schema_arrow.names]
            table = found.read(columns=known)
        except (pa.ArrowException, OSError) as err:
            raise IntegrityError(f"{path} is not a readable Parquet file ({err}).") from err
        for name in names:
            if name not in known:  # a column that came later: the table is older
                table = table.append_column(name, pa.array([""] * table.num_rows, pa.string()))
        tables.append(table.select(list(names)))
    if not tables:
        raise IntegrityError(f"{artifact.path} holds no rows of {stem}. Run its stage again.")
    return pa.concat_tables(tables)


def _contents(messages: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.struct_field(pc.list_flatten(messages), "content")


def _bytes(texts: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.cast(pc.binary_length(texts), pa.int64())).as_py() or 0)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}


def _utc(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
