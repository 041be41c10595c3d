"""Everything that documents may speak of: verified manifests, results, and figures of rows."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from stillhouse.artifacts import Artifact, check_files, check_rows_root, open_artifact
from stillhouse.documents._about import read_about
from stillhouse.documents._evaluations import evaluations_beside
from stillhouse.documents._rows import completion_figures, example_figures
from stillhouse.documents._views import View
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.provenance import lineage, verify
from stillhouse.runlog import Listener, ignore_progress

MODEL_KINDS = ("student", "classifier")
_SUBJECT_KINDS = (*MODEL_KINDS, "cascade", "export", "dataset")
_MANIFEST = "manifest.json"
_RESULTS = "results.json"


@dataclass(frozen=True)
class Node:
    """One artefact of the graph.

    Attributes:
        name: Its folder, relative to what holds all of the graph: the same on every machine.
        manifest: Its manifest.
        parents: Names of the artefacts that it was made from.
        rows: Figures that were counted in its rows, by the stem of the files.
        results: Of an evaluation: what it measured.
    """

    name: str
    manifest: View
    parents: tuple[str, ...] = ()
    rows: Mapping[str, View] = field(default_factory=dict)
    results: View | None = None

    @property
    def kind(self) -> str:
        """What the artefact holds."""
        return str(self.manifest.get("/kind"))


@dataclass(frozen=True)
class Graph:
    """What documents are made from.

    Attributes:
        nodes: Each artefact once, parents before children.
        subject: Name of the one that the documents are about.
        about: What the user declares.
    """

    nodes: tuple[Node, ...]
    subject: str
    about: View

    def node(self, name: str) -> Node:
        """The artefact of that name."""
        return next(node for node in self.nodes if node.name == name)

    def ancestors(self, name: str) -> tuple[Node, ...]:
        """The artefact and all that it was made from, parents before children."""
        wanted = {name}
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.parents)
        return tuple(node for node in self.nodes if node.name in wanted)


def read_graph(
    folder: Path,
    *,
    evaluations: Sequence[Path] = (),
    about: Path | None = None,
    on_progress: Listener = ignore_progress,
) -> Graph:
    """The graph of the artefact in `folder`, every byte of it checked.

    Args:
        folder: A student, classifier, cascade, export or dataset.
        evaluations: Evaluations of it, besides those that lie next to it.
        about: The user's file.

    Raises:
        ConfigError: the artefact is of a kind that documents do not describe, an evaluation is of
            something else, or the user's file is wrong.
        IntegrityError: something in the graph is missing, damaged or changed.
    """
    declared = read_about(about)
    subject = open_artifact(folder)
    if subject.manifest.kind not in _SUBJECT_KINDS:
        raise ConfigError(
            f"{folder} is a {subject.manifest.kind} artefact; documents describe "
            f"{', '.join(_SUBJECT_KINDS)}. Give the folder of one."
        )
    verify(folder, on_progress=on_progress)
    found = _Found()
    found.add(folder)
    models = [item for item in found.artifacts.values() if item.manifest.kind in MODEL_KINDS]
    for path in (*evaluations_beside(models), *evaluations):
        _check_evaluation(path, models)
        for artifact in found.add(path):
            check_files(open_artifact(artifact.path))
            check_rows_root(artifact)
    return found.graph(folder, declared)


def _check_evaluation(path: Path, models: Sequence[Artifact]) -> None:
    manifest = open_artifact(path, kind="evaluation").manifest
    hashes = {model.manifest_sha256 for model in models}
    if not hashes & {parent.sha256 for parent in manifest.parents}:
        names = ", ".join(str(model.path) for model in models) or "no model"
        raise ConfigError(
            f"{path} evaluates other models than {names}. Leave it out, or give its own student."
        )


class _Found:
    """The artefacts of several lineages, each once, parents before children."""

    def __init__(self) -> None:
        self.artifacts: dict[Path, Artifact] = {}
        self._parents: dict[Path, tuple[Path, ...]] = {}

    def add(self, folder: Path) -> list[Artifact]:
        """Take in the lineage of `folder`; what is new of it."""
        graph = lineage(folder)
        resolved = [node.path.resolve() for node in graph.nodes]
        new = []
        for number, node in enumerate(graph.nodes):
            place = resolved[number]
            if place in self.artifacts:
                continue
            self.artifacts[place] = node
            self._parents[place] = tuple(
                resolved[edge.parent] for edge in graph.edges if edge.child == number
            )
            new.append(node)
        return new

    def graph(self, folder: Path, about: View) -> Graph:
        names = _names(list(self.artifacts))
        nodes: list[Node] = []
        for place, artifact in self.artifacts.items():
            parents = tuple(dict.fromkeys(names[parent] for parent in self._parents[place]))
            nodes.append(self._node(names[place], place, artifact, parents))
        return Graph(nodes=tuple(nodes), subject=names[folder.resolve()], about=about)

    def _node(self, name: str, place: Path, artifact: Artifact, parents: tuple[str, ...]) -> Node:
        raw = (artifact.path / _MANIFEST).read_bytes()
        manifest = View("manifest", name, _MANIFEST, artifact.manifest_sha256, orjson.loads(raw))
        rows = {}
        if artifact.manifest.kind == "dataset":
            sources = [item for item in self._ancestors(place) if _has_completions(item)]
            figures = example_figures(artifact, sources)
            rows["examples"] = self._view(name, artifact, "examples", figures)
        elif _has_completions(artifact):
            figures = completion_figures(artifact)
            rows["completions"] = self._view(name, artifact, "completions", figures)
        return Node(name, manifest, parents, rows, _results(name, artifact))

    def _view(self, name: str, artifact: Artifact, stem: str, figures: object) -> View:
        return View("rows", name, f"{stem}-*.parquet", artifact.manifest.rows_root, figures)

    def _ancestors(self, place: Path) -> list[Artifact]:
        wanted = {place}
        for candidate in reversed(self.artifacts):
            if candidate in wanted:
                wanted.update(self._parents[candidate])
        return [item for path, item in self.artifacts.items() if path in wanted]


def _has_completions(artifact: Artifact) -> bool:
    return artifact.manifest.kind == "completions"


def _results(name: str, artifact: Artifact) -> View | None:
    entry = next((file for file in artifact.manifest.files if file.name == _RESULTS), None)
    if artifact.manifest.kind != "evaluation" or entry is None:
        return None
    path = artifact.file(_RESULTS)
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as err:
        raise IntegrityError(f"{path} is not JSON ({err}). Run evaluate again.") from err
    return View("file", name, _RESULTS, entry.sha256, data)


def _names(places: Sequence[Path]) -> dict[Path, str]:
    """Each folder relative to the deepest one that holds them all."""
    top = Path(os.path.commonpath([place.parent for place in places]))
    return {place: place.relative_to(top).as_posix() for place in places}
