"""The artefacts behind an arena as the report draws them, each under a name of its own."""

from collections.abc import Mapping

from stillhouse.artifacts import Artifact
from stillhouse.evaluate._history import History
from stillhouse.pages import LineageNode
from stillhouse.provenance import folder_name


def lineage_nodes(history: History, named: Mapping[str, Artifact]) -> list[LineageNode]:
    """The graph that ends in the arena.

    Args:
        history: Of the artefacts that were judged.
        named: Those artefacts, by what the report calls them.
    """
    names = {artifact.path.resolve(): name for name, artifact in named.items()}
    for node in history.nodes:
        path = node.path.resolve()
        names.setdefault(path, folder_name(path, set(names.values())))
    graph = [
        LineageNode(
            name=names[path := node.path.resolve()],
            kind=node.manifest.kind,
            stage=node.manifest.stage,
            sha256=node.manifest_sha256,
            parents=tuple(names[parent] for parent in history.parents[path]),
            detail=f"{node.manifest.counts.kept:,} rows",
        )
        for node in history.nodes
    ]
    end = LineageNode("arena", "evaluation", "arena", sha256="", parents=tuple(named))
    return [*graph, end]
