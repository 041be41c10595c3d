"""Every field of every document is explained, and depends on just what it cites."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from documents_cases import ABOUT, Case, make_case, terms_record

from stillhouse.documents import Document, Fact, Graph, gather, make_documents, read_graph
from stillhouse.documents._facts import AS_RECORDED, COUNTED, DECLARED
from stillhouse.documents._views import View, pointer_parts

VERBATIM = (AS_RECORDED, COUNTED, DECLARED)
# Words that steer which documents and parts there are; changing one makes another graph.
STEERING = ("/kind", "/teacher/id", "/student/base", "/results/format", "/results/student")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    root = tmp_path_factory.mktemp("graph")
    case = make_case(root / "run", terms=terms_record())
    about = root / "about.yaml"
    about.write_text(ABOUT, encoding="utf-8")
    return read_graph(case.student, about=about)


@pytest.fixture(scope="module")
def documents(graph: Graph) -> tuple[Document, ...]:
    return make_documents(gather(graph))


@pytest.fixture(scope="module")
def cited(graph: Graph, documents: tuple[Document, ...]) -> list[tuple[str, str, str]]:
    """Every place that a field cites and that holds one value: record, file, pointer."""
    places = {
        (source.record, source.file, source.pointer)
        for document in documents
        for fact in document.facts().values()
        for source in fact.sources
    }
    views = [view for node in graph.nodes for view in (node.manifest, *node.rows.values())]
    views += [graph.about, *(node.results for node in graph.nodes if node.results)]
    scalars = {
        (view.record, view.file, pointer)
        for view in views
        for record, file, pointer in places
        if (view.record, view.file) == (record, file)
        and isinstance(view.get(pointer), str | int | float)
    }
    assert len(scalars) > 100
    return sorted(scalars)


def fields_of(documents: tuple[Document, ...]) -> dict[str, Fact]:
    return {
        f"{document.id}:{pointer}": fact
        for document in documents
        for pointer, fact in document.facts().items()
    }


def test_every_leaf_of_every_document_is_explained(documents: tuple[Document, ...]) -> None:
    for field, fact in fields_of(documents).items():
        assert fact.rule, field
        assert fact.sources, field


def test_the_documents_hold_the_values_of_their_facts(documents: tuple[Document, ...]) -> None:
    for document in documents:
        if not document.file.endswith((".json", ".jsonld")):
            continue
        written = json.loads(document.to_bytes())
        for pointer, fact in document.facts().items():
            found: Any = written
            for part in pointer_parts(pointer):
                found = found[int(part)] if isinstance(found, list) else found[part]
            assert found == fact.value, pointer


def test_fields_for_people_are_shown_with_their_values(documents: tuple[Document, ...]) -> None:
    pages = [document for document in documents if document.file.endswith(".md")]
    assert len(pages) == 4
    for document in pages:
        text = document.to_bytes().decode()
        for pointer, fact in document.facts().items():
            if isinstance(fact.value, str) and fact.value.isalnum():
                assert fact.value in text, pointer


def test_changing_a_record_changes_just_the_fields_that_cite_it(
    graph: Graph, documents: tuple[Document, ...], cited: list[tuple[str, str, str]]
) -> None:
    """All places, one after the other: nothing is left to chance."""
    before = fields_of(documents)
    citing = citations(before)
    for place in cited:
        if place[2] in STEERING:
            continue
        after = fields_of(make_documents(gather(changed(graph, place))))
        different = {
            field
            for field in before.keys() | after.keys()
            if field not in before
            or field not in after
            or before[field].value != after[field].value
        }
        verbatim = {
            field
            for field in citing[place]
            if before[field].rule in VERBATIM and len(before[field].sources) == 1
        }
        others = different - citing[place] - citations(after).get(place, set())
        assert not others, f"{place} also changes {sorted(others)[:3]}"
        assert verbatim <= different, f"{place} leaves {sorted(verbatim - different)[:3]}"


def citations(fields: dict[str, Fact]) -> dict[tuple[str, str, str], set[str]]:
    """The fields that cite each place."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for field, fact in fields.items():
        for source in fact.sources:
            found.setdefault((source.record, source.file, source.pointer), set()).add(field)
    return found


def changed(graph: Graph, place: tuple[str, str, str]) -> Graph:
    """The graph with another value at one place."""
    record, file, pointer = place

    def edited(view: View | None) -> Any:
        if view is None or (view.record, view.file) != (record, file):
            return view
        data = copy.deepcopy(view.data)
        *way, last = pointer_parts(pointer)
        holder = data
        for part in way:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        index: Any = int(last) if isinstance(holder, list) else last
        holder[index] = other(holder[index])
        return dataclasses.replace(view, data=data)

    nodes = tuple(
        dataclasses.replace(
            node,
            manifest=edited(node.manifest),
            rows={stem: edited(view) for stem, view in node.rows.items()},
            results=edited(node.results),
        )
        for node in graph.nodes
    )
    return dataclasses.replace(graph, nodes=nodes, about=edited(graph.about))


VERDICTS = ("allow", "allow_with_duties", "forbid")


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if value in VERDICTS:
        return "unknown"
    if value in ("name_prefix", "notice"):
        return "attribution"
    if value[:4].isdecimal() and "T" in value:  # a time
        return value.replace("20", "19", 1)
    if value in ("yes", "no"):
        return "no" if value == "yes" else "yes"
    return f"{value}-changed"


def test_another_manifest_changes_the_hashes_that_cite_all_of_it(tmp_path: Path) -> None:
    one = read_graph(make_case(tmp_path / "one").student)
    nodes = tuple(
        dataclasses.replace(node, manifest=dataclasses.replace(node.manifest, sha256="f" * 64))
        if node.name == "dataset"
        else node
        for node in one.nodes
    )
    before = fields_of(make_documents(gather(one)))
    after = fields_of(make_documents(gather(dataclasses.replace(one, nodes=nodes))))
    different = {field for field in before if before[field].value != after[field].value}
    assert "cyclonedx:/components/0/hashes/0/content" in different
    assert "croissant:/dct:identifier" in different
    for field in different:
        assert ("dataset", "") in {(s.record, s.pointer) for s in before[field].sources}, field


def test_the_same_graph_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    make_case(tmp_path / "here", terms=terms_record())
    first = make_documents(gather(read_graph(Case(tmp_path / "here").student)))
    (tmp_path / "here").rename(tmp_path / "there")
    second = make_documents(gather(read_graph(Case(tmp_path / "there").student)))
    assert [one.to_bytes() for one in first] == [one.to_bytes() for one in second]
