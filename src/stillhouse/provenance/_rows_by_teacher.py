"""How many rows of each teacher an artefact's dataset still holds."""

from collections import Counter
from collections.abc import Iterator

from stillhouse.artifacts import Artifact
from stillhouse.provenance._lineage import Lineage

_REPLAY = "replay:"


def rows_by_teacher(graph: Lineage) -> dict[str, int | None]:
    """Rows by teacher, as ids in completions have it, in the order of their names.

    Those that a dataset kept, where there is one: of several the last, which the others went into.
    None where they cannot be told apart: several teachers behind one recording.
    """
    kept = _kept_requests(graph)
    found: dict[str, int | None] = {}
    for number in _top_collections(graph):
        for teacher, rows in _counted(graph.nodes[number], kept).items():
            for name, part in _behind(graph, number, teacher, rows):
                before = found.get(name, 0)
                found[name] = None if part is None or before is None else before + part
    return dict(sorted(found.items()))


def _top_collections(graph: Lineage) -> list[int]:
    """Collections that no other one was made from: a join or a replay stands for its parents."""
    collections = {i for i, node in enumerate(graph.nodes) if node.manifest.kind == "completions"}
    parents = {edge.parent for edge in graph.edges if edge.child in collections}
    return sorted(collections - parents)


def _behind(graph: Lineage, number: int, teacher: str, rows: int) -> list[tuple[str, int | None]]:
    """A teacher, or those whose recorded answers it gave again."""
    if not teacher.startswith(_REPLAY):
        return [(teacher, rows)]
    names: dict[str, None] = {}
    for edge in graph.edges:
        parent = graph.nodes[edge.parent]
        if edge.child != number or parent.manifest.kind != "completions":
            continue
        for recorded in _counted(parent, None):
            names.update({name: None for name, _ in _behind(graph, edge.parent, recorded, 0)})
    if not names:
        return [(teacher, rows)]
    return [(name, rows if len(names) == 1 else None) for name in names]


def _counted(node: Artifact, kept: frozenset[bytes] | None) -> Counter[str]:
    """Rows of a collection by teacher; teachers of which none was kept count 0."""
    counts: Counter[str] = Counter()
    for request, teacher, model in _columns(
        node, "completions", ("request_id", "teacher", "model")
    ):
        name = teacher or model or ""
        counts[name] += kept is None or _key(request) in kept
    return counts


def _kept_requests(graph: Lineage) -> frozenset[bytes] | None:
    datasets = [node for node in graph.nodes if node.manifest.kind == "dataset"]
    if not datasets:
        return None
    rows = _columns(datasets[-1], "examples", ("request_id",))
    return frozenset(_key(request) for (request,) in rows)


def _columns(node: Artifact, stem: str, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    # Columns alone: rows with their texts and log-probabilities are a hundred times as large.
    import pyarrow.parquet as pq

    for entry in node.manifest.files:
        if not entry.name.startswith(f"{stem}-") or not entry.name.endswith(".parquet"):
            continue
        with pq.ParquetFile(node.path / entry.name) as file:
            there = [name for name in names if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=there):
                absent = [""] * batch.num_rows
                columns = (
                    batch.column(name).to_pylist() if name in there else absent for name in names
                )
                yield from zip(*columns, strict=True)


def _key(request: str) -> bytes:
    """A request's id in half its memory, where it is the hash that it usually is."""
    try:
        return bytes.fromhex(request)
    except ValueError:
        return request.encode()
