"""Documents for people: sections of fields, tables and texts, written as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from stillhouse.documents._document import Document
from stillhouse.documents._facts import Fact, Source, shown
from stillhouse.documents._trees import Tree, leaves, plain, pruned
from stillhouse.documents._visible import markdown, paragraph

NOTE = "A record, not legal advice."
_NOT_RECORDED = "Not recorded"
_MARK = " (declared)"


def page(
    id: str,
    *,
    group: str,
    file: str,
    standard: str,
    title: Fact,
    sections: Mapping[str, Tree],
    front_matter: Mapping[str, Tree] | None = None,
) -> Document:
    """A Markdown document.

    Args:
        id: See `Document`; so are `group`, `file` and `standard`.
        title: Of the page.
        sections: By a short name: what `section` gives.
        front_matter: YAML before the text; only what is recorded is kept.
    """
    tree: dict[str, Tree] = {"title": title, "sections": dict(sections), "note": NOTE}
    asked: dict[str, Tree] = {}
    if front_matter is not None:
        asked["front_matter"] = dict(front_matter)
        tree["front_matter"] = pruned(dict(front_matter))
    return Document(
        id=id,
        group=group,
        file=file,
        standard=standard,
        tree=tree,
        write=page_bytes,
        asked=asked,
    )


def section(
    heading: str,
    *texts: Fact | str,
    fields: Mapping[str, Fact] | None = None,
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[Fact | str]] = (),
    level: int = 2,
) -> Tree:
    """One section: texts, then fields, then a table with `columns`."""
    made: dict[str, Tree] = {"heading": heading, "level": level}
    if texts:
        made["texts"] = list(texts)
    if fields:
        made["fields"] = dict(fields)
    if rows:
        made["table"] = {"columns": list(columns), "rows": [list(row) for row in rows]}
    return made


def page_bytes(tree: Tree) -> bytes:
    """The Markdown of a page."""
    assert isinstance(tree, dict)
    lines: list[str] = []
    if "front_matter" in tree:
        # ASCII, and every text that YAML would read as something else in quotes.
        dumped = yaml.safe_dump(plain(tree["front_matter"]), sort_keys=False, width=10_000)
        lines += ["---", dumped.rstrip("\n"), "---", ""]
    lines += [f"# {_cell(tree['title'], is_marked=False)}", ""]
    sections = tree["sections"]
    assert isinstance(sections, dict)
    for part in sections.values():
        lines += _section_lines(part)
    lines += _declaration_lines(tree)
    lines += [str(tree["note"])]
    return ("\n".join(lines) + "\n").encode()


def _section_lines(part: Any) -> list[str]:
    lines = [f"{'#' * part['level']} {markdown(part['heading'])}", ""]
    for text in part.get("texts", ()):
        lines += [_cell(text, write=paragraph), ""]
    fields = part.get("fields", {})
    lines += [f"- **{markdown(label)}**: {_cell(value)}" for label, value in fields.items()]
    lines += [""] if fields else []
    if "table" in part:
        columns = part["table"]["columns"]
        lines += [_row([markdown(column) for column in columns]), _row(["---"] * len(columns))]
        lines += [_row([_cell(value) for value in row]) for row in part["table"]["rows"]]
        lines += [""]
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any, *, is_marked: bool = True, write: Callable[[str], str] = markdown) -> str:
    if not isinstance(value, Fact):
        return write(shown(value))
    if not value.is_known:
        return _NOT_RECORDED
    kinds = {source.kind for source in value.sources}
    is_declared = kinds == {"about"}
    return f"{write(shown(value.value))}{_MARK if is_declared and is_marked else ''}"


def _declaration_lines(tree: Tree) -> list[str]:
    """Which file the declared values come from, where there are any."""
    found = [fact for _, fact in leaves(tree, standard="", file="")]
    files: dict[Source, None] = {}
    for fact in found:
        for source in fact.sources:
            if source.kind == "about" and source.sha256 is not None and fact.is_known:
                files[source.model_copy(update={"pointer": ""})] = None
    return [
        text
        for source in files
        for text in (
            f"Fields marked (declared) are what the user states in {markdown(source.file)}, "
            f"SHA-256 `{source.sha256}`; nothing has checked them.",
            "",
        )
    ]
