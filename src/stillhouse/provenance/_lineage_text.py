"""A lineage as a tree of text: the artefact first, what it was made from below it."""

from stillhouse.provenance._facts import fact_lines
from stillhouse.provenance._lineage import Lineage
from stillhouse.provenance._names import folder_name


def lineage_text(graph: Lineage) -> str:
    """The tree; an artefact that several were made from is spelt out once."""
    parents: dict[int, list[int]] = {}
    for edge in graph.edges:
        parents.setdefault(edge.child, []).append(edge.parent)
    names = lineage_names(graph)
    told: set[int] = set()
    lines: list[str] = []
    # A stack of our own: a lineage may be deeper than Python's recursion limit.
    waiting = [(len(graph.nodes) - 1, "", "")]
    while waiting:
        number, branch, below = waiting.pop()
        if number in told:
            lines.append(f"{branch}{names[number]} (see above)")
            continue
        told.add(number)
        sources = list(dict.fromkeys(parents.get(number, [])))
        first, *more = fact_lines(graph.nodes[number])
        lines.append(f"{branch}{names[number]}: {first}")
        stem = "\N{BOX DRAWINGS LIGHT VERTICAL}  " if sources else "   "
        lines += [f"{below}{stem}{line}" for line in more]
        for place, source in reversed(list(enumerate(sources))):
            is_last = place == len(sources) - 1
            corner = "LIGHT UP AND RIGHT" if is_last else "LIGHT VERTICAL AND RIGHT"
            arm = _BOX[corner] + "\N{BOX DRAWINGS LIGHT HORIZONTAL} "
            further = "   " if is_last else "\N{BOX DRAWINGS LIGHT VERTICAL}  "
            waiting.append((source, below + arm, below + further))
    return "\n".join(lines)


def lineage_names(graph: Lineage) -> list[str]:
    """A name for each artefact: its folder's, with folders above where two are called alike."""
    names: list[str] = []
    for node in reversed(graph.nodes):  # of two that are called alike, the later has the name
        names.append(folder_name(node.path.resolve(), names))
    return names[::-1]


_BOX = {
    "LIGHT UP AND RIGHT": "\N{BOX DRAWINGS LIGHT UP AND RIGHT}",
    "LIGHT VERTICAL AND RIGHT": "\N{BOX DRAWINGS LIGHT VERTICAL AND RIGHT}",
}
