"""Small real artefacts, and honest tools to damage them, for the tests of the format."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from stillhouse.artifacts import Artifact, Counts, begin_artifact
from stillhouse.records import Message, Prompt, canonical_json

_LAYOUT = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def prompts(count: int = 3) -> list[Prompt]:
    """Prompts with distinct ids and texts."""
    return [
        Prompt(id=f"p{n}", messages=(Message(role="user", content=f"Question {n}?"),))
        for n in range(count)
    ]


def make_artifact(folder: Path, parents: Sequence[Artifact] = ()) -> Artifact:
    """A finished artefact with rows, and with a file in a folder of its own."""
    writer = begin_artifact(
        folder, kind="completions", stage="collect", config={"n": 3}, parents=parents
    )
    writer.write_rows("prompts", prompts(), Prompt)
    writer.new_file("extra/notes.json").write_bytes(b'{"a":1}\n')
    return writer.finish(counts=Counts(num_in=3, kept=3))


def make_chain(folder: Path) -> Artifact:
    """Grandparent, two parents (one shared grandparent) and the child that is returned."""
    grandparent = make_artifact(folder / "grandparent")
    left = make_artifact(folder / "left", [grandparent])
    right = make_artifact(folder / "right", [grandparent])
    return make_artifact(folder / "child", [left, right])


def edit_manifest(folder: Path, changes: dict[str, Any], *, drop: Sequence[str] = ()) -> None:
    """Rewrite a manifest as a forger would: changed fields, and a checksum that fits them."""
    path = folder / "manifest.json"
    data = orjson.loads(path.read_bytes())
    del data["self_sha256"]
    data.update(changes)
    for name in drop:
        del data[name]
    checksum = hashlib.sha256(canonical_json(data)).hexdigest()
    path.write_bytes(orjson.dumps({**data, "self_sha256": checksum}, option=_LAYOUT))


def manifest_sha256(folder: Path) -> str:
    """What a child records of the artefact in `folder`."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def listing(folder: Path) -> dict[str, str]:
    """Everything under `folder` with its content: equal before and after means untouched."""
    found = {}
    for entry in sorted(folder.rglob("*")):
        name = entry.relative_to(folder).as_posix()
        if entry.is_symlink():
            found[name] = f"link to {entry.readlink()}"
        elif entry.is_dir():
            found[name] = "folder"
        else:
            found[name] = hashlib.sha256(entry.read_bytes()).hexdigest()
    return found
