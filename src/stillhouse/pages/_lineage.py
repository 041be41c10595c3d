"""The lineage graph as SVG: boxes in ranks, arrows from parents to children.

Layered drawing in three steps: each node's rank is one more than its furthest parent's; an edge
that skips ranks gets an empty slot in each, so that it passes between boxes; slots of a rank are
ordered by the mean place of their neighbours.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.errors import DataError
from stillhouse.pages._charts import Figure
from stillhouse.pages._inputs import LineageNode
from stillhouse.pages._svg import drawing, element, shorten

_BOX_HEIGHT = 64.0
_EMPTY_SLOT = 18.0
_SWEEPS = 4
_SHORT_HASH = 10

Slot = tuple[str, int]
"""A node's name and a rank: the node itself in its own rank, an edge passing by in others.

Edges of one parent share the slots they pass through."""


@dataclass(frozen=True)
class _Box:
    """Where a slot lies, by its centre along the flow and across it."""

    along: float
    across: float
    is_node: bool


def lineage_figure(nodes: Sequence[LineageNode], colors: Mapping[str, str]) -> Figure | None:
    """The lineage graph for both column widths; None where there is none."""
    if not nodes:
        return None
    return Figure(
        wide=lineage_drawing(nodes, colors, width=1040, is_vertical=False),
        narrow=lineage_drawing(nodes, colors, width=340, is_vertical=True),
    )


def lineage_drawing(
    nodes: Sequence[LineageNode], colors: Mapping[str, str], *, width: float, is_vertical: bool
) -> Markup:
    """The graph, left to right or top to bottom.

    Args:
        colors: Colour class by node name, for nodes that are models of the results.
        width: In px; a horizontal graph of many ranks grows wider and is scaled by the page.

    Raises:
        DataError: a name occurs twice, a parent is not among the nodes, or parents form a cycle.
    """
    ranks = node_ranks(nodes)
    slots = _ordered_slots(nodes, ranks)
    place = _place_vertically if is_vertical else _place_horizontally
    boxes, box_width, full_width, height = place(slots, ranks, width)
    edges = [
        _edge(_route(parent, node.name, ranks, boxes), box_width, is_vertical=is_vertical)
        for node in nodes
        for parent in node.parents
    ]
    drawn = [
        _node(node, boxes[node.name, ranks[node.name]], box_width, colors, is_vertical=is_vertical)
        for node in nodes
    ]
    label = "Lineage: " + "; ".join(
        f"{node.name} from {', '.join(node.parents)}" for node in nodes if node.parents
    )
    return drawing(full_width, height, *edges, *drawn, label=label)


def node_ranks(nodes: Sequence[LineageNode]) -> dict[str, int]:
    """Each node's rank: 0 for sources, else one more than the furthest parent's.

    A source whose children all come late is moved next to them, so that its arrow is short.

    Raises:
        DataError: a name occurs twice, a parent is not among the nodes, or parents form a cycle.
    """
    by_name = {node.name: node for node in nodes}
    if len(by_name) != len(nodes):
        names = sorted(node.name for node in nodes)
        twice = next(name for name, after in itertools.pairwise(names) if name == after)
        raise DataError(f"The lineage holds {twice!r} twice. Give each node a name of its own.")
    _check_parents(by_name)
    ranks: dict[str, int] = {}
    while len(ranks) < len(nodes):
        ready = [
            node
            for node in nodes
            if node.name not in ranks and all(parent in ranks for parent in node.parents)
        ]
        if not ready:
            left = sorted(set(by_name) - set(ranks))
            raise DataError(f"The lineage has a cycle at {left[0]!r}; parents must come before.")
        for node in ready:
            ranks[node.name] = max((ranks[parent] + 1 for parent in node.parents), default=0)
    for node in nodes:
        children = [ranks[child.name] for child in nodes if node.name in child.parents]
        if not node.parents and children:
            ranks[node.name] = min(children) - 1
    return ranks


def _check_parents(by_name: Mapping[str, LineageNode]) -> None:
    for node in by_name.values():
        for parent in node.parents:
            if parent not in by_name:
                raise DataError(
                    f"Lineage node {node.name!r} names the parent {parent!r}, which is not in the "
                    "graph. Add it, or leave it out of the parents."
                )


def _ordered_slots(nodes: Sequence[LineageNode], ranks: Mapping[str, int]) -> list[list[Slot]]:
    slots: list[list[Slot]] = [[] for _ in range(max(ranks.values()) + 1)]
    links: dict[Slot, set[Slot]] = {}
    for node in nodes:
        last = max((ranks[c.name] - 1 for c in nodes if node.name in c.parents), default=0)
        for rank in range(ranks[node.name], max(last, ranks[node.name]) + 1):
            slots[rank].append((node.name, rank))
    for node in nodes:
        for parent in node.parents:
            chain = [(parent, rank) for rank in range(ranks[parent], ranks[node.name])]
            chain.append((node.name, ranks[node.name]))
            for one, other in itertools.pairwise(chain):
                links.setdefault(one, set()).add(other)
                links.setdefault(other, set()).add(one)
    for sweep in range(_SWEEPS):
        order = range(1, len(slots)) if sweep % 2 == 0 else range(len(slots) - 2, -1, -1)
        for rank in order:
            _sort_by_neighbours(slots, rank, rank - 1 if sweep % 2 == 0 else rank + 1, links)
    return slots


def _sort_by_neighbours(
    slots: list[list[Slot]], rank: int, beside: int, links: Mapping[Slot, set[Slot]]
) -> None:
    places = {slot: _relative(index, slots[beside]) for index, slot in enumerate(slots[beside])}
    current = {slot: _relative(index, slots[rank]) for index, slot in enumerate(slots[rank])}

    def mean_place(slot: Slot) -> float:
        near = [places[other] for other in links.get(slot, ()) if other in places]
        return sum(near) / len(near) if near else current[slot]

    slots[rank].sort(key=mean_place)


def _relative(index: int, row: Sequence[Slot]) -> float:
    return (index + 0.5) / len(row)


def _place_horizontally(
    slots: Sequence[Sequence[Slot]], ranks: Mapping[str, int], width: float
) -> tuple[dict[Slot, _Box], float, float, float]:
    gap_along, gap_across = 34.0, 16.0
    step = max(width / len(slots), 100.0 + gap_along)
    box_width = min(step - gap_along, 170.0)
    full_width = step * (len(slots) - 1) + box_width + 2
    lengths = [_rank_length(row, ranks, _BOX_HEIGHT, gap_across) for row in slots]
    boxes: dict[Slot, _Box] = {}
    for rank, row in enumerate(slots):
        at = (max(lengths) - lengths[rank]) / 2 + 1
        for slot in row:
            is_node = ranks[slot[0]] == rank
            extent = _BOX_HEIGHT if is_node else _EMPTY_SLOT
            boxes[slot] = _Box(rank * step + box_width / 2 + 1, at + extent / 2, is_node)
            at += extent + gap_across
    return boxes, box_width, full_width, max(lengths) + 2


def _place_vertically(
    slots: Sequence[Sequence[Slot]], ranks: Mapping[str, int], width: float
) -> tuple[dict[Slot, _Box], float, float, float]:
    gap_along, gap_across = 30.0, 12.0
    rooms = []
    for rank, row in enumerate(slots):
        num_boxes = sum(ranks[name] == rank for name, _ in row)
        taken = (len(row) - num_boxes) * _EMPTY_SLOT + (len(row) - 1) * gap_across
        rooms.append((width - 2 - taken) / max(num_boxes, 1))
    box_width = min(max(min(rooms), 92.0), 190.0)
    lengths = [_rank_length(row, ranks, box_width, gap_across) for row in slots]
    full_width = max(width, max(lengths) + 2)
    boxes: dict[Slot, _Box] = {}
    for rank, row in enumerate(slots):
        at = (full_width - lengths[rank]) / 2
        for slot in row:
            is_node = ranks[slot[0]] == rank
            extent = box_width if is_node else _EMPTY_SLOT
            along = rank * (_BOX_HEIGHT + gap_along) + _BOX_HEIGHT / 2 + 1
            boxes[slot] = _Box(along, at + extent / 2, is_node)
            at += extent + gap_across
    height = len(slots) * (_BOX_HEIGHT + gap_along) - gap_along + 2
    return boxes, box_width, full_width, height


def _rank_length(row: Sequence[Slot], ranks: Mapping[str, int], extent: float, gap: float) -> float:
    own_rank = row[0][1]
    sizes = [extent if ranks[name] == own_rank else _EMPTY_SLOT for name, _ in row]
    return sum(sizes) + gap * (len(sizes) - 1)


def _route(
    parent: str, child: str, ranks: Mapping[str, int], boxes: Mapping[Slot, _Box]
) -> list[_Box]:
    passed = [boxes[parent, rank] for rank in range(ranks[parent], ranks[child])]
    return [*passed, boxes[child, ranks[child]]]


def _edge(route: Sequence[_Box], box_width: float, *, is_vertical: bool) -> Markup:
    half = (_BOX_HEIGHT if is_vertical else box_width) / 2

    def at(along: float, across: float) -> str:
        x, y = (across, along) if is_vertical else (along, across)
        return f"{x:.1f} {y:.1f}"

    start, end = route[0], route[-1]
    tip = end.along - half - 1
    points = [(start.along + half, start.across)]
    for passed in route[1:-1]:
        points += [(passed.along - half, passed.across), (passed.along + half, passed.across)]
    points.append((tip - 6, end.across))
    path = "M" + at(*points[0])
    for (along, across), (to_along, to_across) in itertools.pairwise(points):
        middle = (along + to_along) / 2
        path += f"C{at(middle, across)} {at(middle, to_across)} {at(to_along, to_across)}"
    head = f"M{at(tip, end.across)}L{at(tip - 8, end.across - 4)}L{at(tip - 8, end.across + 4)}Z"
    return element(
        "g", element("path", d=path, class_="edge"), element("path", d=head, class_="head")
    )


def _node(
    node: LineageNode,
    box: _Box,
    width: float,
    colors: Mapping[str, str],
    *,
    is_vertical: bool,
) -> Markup:
    x, y = (box.across, box.along) if is_vertical else (box.along, box.across)
    left, top = x - width / 2, y - _BOX_HEIGHT / 2
    room = width - 16
    lines = [
        (node.name, "strong"),
        (node.detail or node.kind, "quiet"),
        (node.sha256[:_SHORT_HASH] or node.stage, "hash" if node.sha256 else "quiet"),
    ]
    facts = [node.name, node.kind, node.detail, f"stage {node.stage}" if node.stage else ""]
    if node.sha256:
        facts.append(f"sha256 {node.sha256}")
    parts = [
        element("title", "\n".join(fact for fact in facts if fact)),
        element("rect", x=left, y=top, width=width, height=_BOX_HEIGHT, rx=6, class_="node"),
    ]
    if node.name in colors:
        stripe = element("rect", x=left, y=top + 6, width=3, height=_BOX_HEIGHT - 12, class_="bar")
        parts.append(stripe)
    for index, (text, css) in enumerate(lines):
        shown = shorten(text, room)
        parts.append(element("text", shown, x=left + 12, y=top + 20 + index * 17, class_=css))
    return element("g", *parts, class_=colors.get(node.name, ""))
