"""`--explain`: the value of a field, the records that it comes from, and the way to them."""

from collections.abc import Sequence
from difflib import get_close_matches

from stillhouse.documents._document import Document
from stillhouse.documents._facts import Fact, Source
from stillhouse.documents._graph import Graph
from stillhouse.documents._views import pointer_parts
from stillhouse.errors import ConfigError
from stillhouse.records import Record

_FRONT_MATTER = "/front_matter"
_MAX_NAMES = 5


class Explanation(Record):
    """One field of a document.

    Attributes:
        field: `DOCUMENT:POINTER`.
        fact: Its value, its sources, and the rule between them.
        chain: Names of artefacts from the subject to the source, for each source that is one.
    """

    field: str
    fact: Fact
    chain: tuple[tuple[str, ...], ...]


def explain(field: str, documents: Sequence[Document], graph: Graph) -> tuple[Explanation, ...]:
    """The field, or every field under it.

    Args:
        field: `cyclonedx:/metadata/component/name`; of cards `model_card:/license` too, and of
            any document `model_card:Objective`, all fields of that name.
        documents: All documents of `graph`.
        graph: What they were made from.

    Raises:
        ConfigError: there is no such document or field; the message names near ones.
    """
    name, separator, pointer = field.partition(":")
    document = next((one for one in documents if one.id == name), None)
    if document is None or not separator:
        names = ", ".join(one.id for one in documents)
        raise ConfigError(f"{field!r} is no field: give DOCUMENT:/POINTER; documents are {names}.")
    facts, left_out = document.facts(), document.left_out()
    places = (pointer, f"{_FRONT_MATTER}{pointer}")
    found = next(
        (under for known in (facts, left_out) for at in places if (under := _under(known, at))),
        _named(facts, pointer),
    )
    if not found:
        raise ConfigError(f"{field!r} is not a field of {name}.{_near(pointer, list(facts))}")
    return tuple(
        Explanation(
            field=f"{name}:{place}",
            fact=fact,
            chain=tuple(_chain(graph, source) for source in fact.sources),
        )
        for place, fact in found.items()
    )


def _under(facts: dict[str, Fact], pointer: str) -> dict[str, Fact]:
    wanted = pointer.rstrip("/")
    return {
        place: fact
        for place, fact in facts.items()
        if place == wanted or place.startswith(f"{wanted}/")
    }


def _named(facts: dict[str, Fact], name: str) -> dict[str, Fact]:
    """Fields whose last part is `name`, in whatever case."""
    wanted = name.casefold()
    return {
        place: fact
        for place, fact in facts.items()
        if pointer_parts(place)[-1].casefold() == wanted
    }


def _near(pointer: str, places: Sequence[str]) -> str:
    near = get_close_matches(pointer, places, n=_MAX_NAMES, cutoff=0.5)
    return f" Near it are {', '.join(near)}." if near else " Leave the pointer out to see them all."


def _chain(graph: Graph, source: Source) -> tuple[str, ...]:
    """The shortest way from the subject along parents, or from what was made from it."""
    names = {node.name for node in graph.nodes}
    if source.record not in names:
        return ()
    ways: dict[str, tuple[str, ...]] = {graph.subject: (graph.subject,)}
    children = {
        node.name: [other.name for other in graph.nodes if node.name in other.parents]
        for node in graph.nodes
    }
    waiting = [graph.subject]
    for name in waiting:
        for next_name in (*graph.node(name).parents, *children[name]):
            if next_name not in ways:
                ways[next_name] = (*ways[name], next_name)
                waiting.append(next_name)
    return ways.get(source.record, ())
