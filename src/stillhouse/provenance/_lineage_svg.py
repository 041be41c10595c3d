"""A lineage as a picture: an SVG file that stands alone."""

from stillhouse.artifacts import Artifact
from stillhouse.pages import LineageNode, lineage_drawing, node_ranks, standalone_svg
from stillhouse.provenance._facts import verdict_of
from stillhouse.provenance._lineage import Lineage
from stillhouse.provenance._lineage_text import lineage_names

_RANK_PX = 204.0  # a box that is wide enough for most names, and the arrow after it
_MODELS = {"student": "c-student", "classifier": "c-student", "cascade": "c-student"}


def lineage_svg(graph: Lineage) -> str:
    """The graph with its teachers and base models, left to right, for light and dark screens."""
    drawn = _Drawn(graph)
    num_ranks = max(node_ranks(drawn.nodes).values()) + 1
    width = num_ranks * _RANK_PX
    svg = lineage_drawing(drawn.nodes, drawn.colors, width=width, is_vertical=False)
    return standalone_svg(svg)


class _Drawn:
    """Boxes of a graph.

    Attributes:
        nodes: In the order of the lineage, what came from outside before what was made of it.
        colors: Colour class by name, of models.
    """

    def __init__(self, graph: Lineage) -> None:
        self.nodes: list[LineageNode] = []
        self.colors: dict[str, str] = {}
        self._taken = set(names := lineage_names(graph))
        self._outside: dict[tuple[str, str], str] = {}
        parents: dict[int, list[int]] = {}
        for edge in graph.edges:
            parents.setdefault(edge.child, []).append(edge.parent)
        for number, node in enumerate(graph.nodes):
            sources = [names[parent] for parent in dict.fromkeys(parents.get(number, []))]
            sources += self._sources(node, has_parents=bool(sources))
            manifest = node.manifest
            self.nodes.append(
                LineageNode(
                    name=names[number],
                    kind=manifest.kind,
                    stage=manifest.stage,
                    sha256=node.manifest_sha256,
                    parents=tuple(sources),
                    detail=f"{manifest.stage}, {manifest.counts.kept:,} rows",
                )
            )
            if manifest.kind in _MODELS:
                self.colors[names[number]] = _MODELS[manifest.kind]

    def _sources(self, node: Artifact, *, has_parents: bool) -> list[str]:
        """What came from outside: who answered, and which model a student started from."""
        manifest = node.manifest
        sources = []
        teacher = manifest.teacher
        if manifest.kind == "completions" and teacher is not None and not has_parents:
            verdict = verdict_of(node)
            terms = f"terms {verdict}" if verdict else "terms not recorded"
            sources.append(self._source(teacher.id, "teacher", terms, "c-teacher"))
        if manifest.student is not None and manifest.student.revision != "":
            revision = manifest.student.revision or ""
            shown = f"revision {revision[:10]}" if revision else ""
            sources.append(self._source(manifest.student.base, "base model", shown, "c-untrained"))
        return sources

    def _source(self, identity: str, kind: str, fact: str, color: str) -> str:
        known = self._outside.get((identity, kind))
        if known is not None:
            return known
        scheme, colon, rest = identity.partition(":")
        # Of a local model the folder's name says more than the beginning of its path.
        short = f"{scheme}{colon}{rest.rsplit('/', 1)[-1]}" if rest.startswith("/") else identity
        name, number = short, 2
        while name in self._taken:
            name, number = f"{short} ({number})", number + 1
        self._taken.add(name)
        self._outside[identity, kind] = name
        self.colors[name] = color
        self.nodes.append(LineageNode(name=name, kind=kind, stage=fact, sha256="", detail=kind))
        return name
