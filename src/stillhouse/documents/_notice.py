"""`NOTICE`: attributions and duties, as a text file that goes with every copy."""

from collections.abc import Iterator
from typing import Any

from stillhouse.documents._document import Document
from stillhouse.documents._facts import Fact, derived, shown
from stillhouse.documents._pages import NOTE
from stillhouse.documents._sheet import FactSheet
from stillhouse.documents._terms_section import duty_words
from stillhouse.documents._trees import Tree
from stillhouse.documents._visible import one_line

_STANDARD = "NOTICE, as section 4(d) of the Apache License 2.0 speaks of it"


def documents(sheet: FactSheet) -> Iterator[Document]:
    """The notice of the student or dataset."""
    yield Document(
        id="notice",
        group="notice",
        file="NOTICE",
        standard=_STANDARD,
        tree=_tree(sheet),
        write=_text_bytes,
    )


def _tree(sheet: FactSheet) -> Tree:
    head: dict[str, Tree] = {"name": _name(sheet), "license": sheet.said("license")}
    head["provider"] = sheet.said("provider.name")
    terms = sheet.terms
    if terms is None:
        head["terms"] = sheet.no_terms
        return {**head, "note": NOTE}
    duties: list[Tree] = [
        {
            "kind": duty_words(duty.kind),
            "value": duty.value,
            "clause": duty.clause,
            "sources": list(duty.sources),
        }
        for duty in terms.duties
    ]
    texts: list[Tree] = [
        {
            "origin": finding.origin,
            "source": finding.source,
            "clauses": [
                {"id": clause.id, "date": clause.date, "url": clause.url}
                for clause in finding.clauses
            ],
        }
        for finding in terms.findings
    ]
    return {**head, "duties": duties, "texts": texts, "note": terms.note}


def _name(sheet: FactSheet) -> Fact:
    if sheet.model is not None:
        return sheet.model.name
    if sheet.dataset is not None:
        return sheet.dataset.name
    return derived(None, "neither a model nor a dataset")


def _text_bytes(tree: Tree) -> bytes:
    assert isinstance(tree, dict)
    lines = [_text(tree["name"]), ""]
    lines += [f"Licence: {_text(tree['license'])}", f"Provider: {_text(tree['provider'])}", ""]
    if "terms" in tree:
        lines += [f"Terms of teachers, data and base models: {_text(tree['terms'])}.", ""]
    duties: Any = tree.get("duties", ())
    lines += ["Duties that go with every copy:"] if duties else []
    for duty in duties:
        asked = ", ".join(map(_text, duty["sources"]))
        lines += [f"- {_text(duty['kind'])}: {_text(duty['value'])}"]
        lines += [f"  (clause {_text(duty['clause'])} of {asked})"]
    lines += [""] if duties else []
    texts: Any = tree.get("texts", ())
    lines += ["Terms that apply:"] if texts else []
    for found in texts:
        lines += [f"- {_text(found['origin'])}: {_text(found['source'])}"]
        lines += [
            f"  {_text(clause['id'])}, text of {_text(clause['date'])}, {_text(clause['url'])}"
            for clause in found["clauses"]
        ]
    lines += [""] if texts else []
    return ("\n".join([*lines, _text(tree["note"])]) + "\n").encode()


def _text(value: Any) -> str:
    if isinstance(value, Fact):
        return one_line(shown(value.value)) if value.is_known else "not recorded"
    return str(value)
