"""Build the fact sheet of a graph. A pure function: no file is read here."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from stillhouse.documents._about import About, DataSource
from stillhouse.documents._facts import NOT_RECORDED, Fact, derived, first_known, written
from stillhouse.documents._gather_evaluations import evaluation_facts
from stillhouse.documents._gather_terms import terms_facts
from stillhouse.documents._graph import MODEL_KINDS, Graph, Node
from stillhouse.documents._sheet import (
    AboutFacts,
    ArtifactFacts,
    DatasetFacts,
    DataSourceFacts,
    FactSheet,
    FileFacts,
    ImportFacts,
    ModelFacts,
    SettingsOfTask,
    TeacherFacts,
)
from stillhouse.documents._views import View, escaped

_VERSION_DIGITS = 12
_PLAIN_SETTINGS = (str, int, float, bool)
_CLASSIFIERS = ("ngram", "embedding", "encoder")
_PRIVATE_SETTINGS = ("base", "teacher", "command")


def gather(graph: Graph) -> FactSheet:
    """All facts about the subject of `graph`.

    Raises:
        IntegrityError: a record of terms in a manifest is not what the gate writes.
    """
    about = _about(graph.about)
    lineage = graph.ancestors(graph.subject)
    model = _nearest(lineage, MODEL_KINDS)
    dataset = _training_data(graph, model)
    terms, no_terms = terms_facts(lineage)
    collections = [node for node in lineage if node.kind == "completions"]
    return FactSheet(
        subject=graph.subject,
        artifacts=tuple(map(_artifact, graph.nodes)),
        model=_model(model, about, graph) if model else None,
        dataset=_dataset(dataset, graph, about) if dataset else None,
        teachers=tuple(_teachers(dataset, collections)),
        imports=tuple(
            _import(node) for node in collections if node.manifest.get("/results/format")
        ),
        evaluations=tuple(evaluation_facts(graph, model)),
        terms=terms,
        no_terms=no_terms,
        lineage=derived(
            graph.subject, "the subject", *(node.manifest.whole() for node in reversed(lineage))
        ),
        about=about,
    )


def _nearest(lineage: Sequence[Node], kinds: Sequence[str]) -> Node | None:
    return next((node for node in reversed(lineage) if node.kind in kinds), None)


def _training_data(graph: Graph, model: Node | None) -> Node | None:
    """The dataset among the model's own parents; else the nearest one that there is."""
    if model is None:
        return _nearest(graph.ancestors(graph.subject), ("dataset",))
    parents = [graph.node(name) for name in model.parents]
    direct = next((node for node in parents if node.kind == "dataset"), None)
    return direct or _nearest(graph.ancestors(model.name), ("dataset",))


def _artifact(node: Node) -> ArtifactFacts:
    view = node.manifest
    return ArtifactFacts(
        name=node.name,
        path=view.whole().model_copy(update={"value": node.name, "rule": "name of its folder"}),
        kind=view.fact("/kind"),
        stage=view.fact("/stage"),
        created_utc=view.fact("/created_utc"),
        manifest_sha256=view.whole(),
        rows_root=view.fact("/rows_root"),
        version=view.fact("/code/version"),
        commit=view.fact("/code/commit"),
        num_in=view.fact("/counts/in"),
        kept=view.fact("/counts/kept"),
        dropped=view.facts("/counts/dropped"),
        seconds=view.fact("/usage/seconds"),
        cost_usd=view.fact("/usage/cost_usd"),
        python=view.fact("/environment/python"),
        platform=view.fact("/environment/platform"),
        device=view.fact("/environment/device"),
        torch=view.fact("/environment/torch"),
        files=tuple(_file(view, pointer) for _, pointer in view.children("/files")),
        parents=node.parents,
        made_from=derived(
            ", ".join(node.parents) or "-",
            "names of the folders of its parents",
            view.fact("/parents"),
            *(view.fact(f"{place}/path") for _, place in view.children("/parents")),
        ),
    )


def _file(view: View, pointer: str) -> FileFacts:
    return FileFacts(
        name=view.fact(f"{pointer}/name"),
        sha256=view.fact(f"{pointer}/sha256"),
        bytes=view.fact(f"{pointer}/bytes"),
        rows=view.fact(f"{pointer}/rows"),
    )


def _model(node: Node, about: AboutFacts, graph: Graph) -> ModelFacts:
    view = node.manifest
    subject = graph.node(graph.subject).manifest
    folder = view.whole().model_copy(
        update={"value": node.name.split("/")[-1], "rule": "name of its folder"}
    )
    digest = view.whole()
    short = derived(
        str(digest.value)[:_VERSION_DIGITS], "first digits of the manifest's SHA-256", digest
    )
    what = view.fact("/results/student")
    tokens = view.fact("/usage/completion_tokens")
    if node.kind == "student":
        what = derived("language model", "kind of the artefact", view.fact("/kind"))
    else:  # nothing counts the tokens of a classifier
        tokens = derived(None, NOT_RECORDED, tokens)
    return ModelFacts(
        artifact=node.name,
        name=first_known(about.texts["name"], folder),
        version=first_known(about.texts["version"], short),
        what=what,
        base=view.fact("/student/base"),
        base_revision=view.fact("/student/revision"),
        objective=view.fact("/results/objective"),
        steps=view.fact("/results/steps"),
        parameters=view.fact("/results/parameters"),
        layers=view.fact("/results/layers"),
        final_loss_nats=view.fact("/results/final_loss_nats"),
        trained_tokens=tokens,
        settings=_training_settings(view),
        seeds=view.facts("/seeds"),
        validation=written(
            "{agreement} (95 % interval {low} to {high}, n = {n})",
            agreement=view.fact("/results/validation/agreement"),
            low=view.fact("/results/validation/low"),
            high=view.fact("/results/validation/high"),
            n=view.fact("/results/validation/rows"),
        ),
        certificate=subject.fact("/results/statement"),
    )


def _training_settings(view: View) -> dict[str, Fact]:
    """The settings of a training, without those of the kinds that the student is not of."""
    kind = view.get("/results/student")
    others = tuple(f"{name}." for name in _CLASSIFIERS if kind in _CLASSIFIERS and name != kind)
    found = _settings(view, "/config", "")
    return {name: fact for name, fact in found if not name.startswith(others)}


def _settings(view: View, pointer: str, prefix: str) -> Iterator[tuple[str, Fact]]:
    """Numbers and words of the stage's settings, by dotted name."""
    for name, place in view.children(pointer):
        value = view.get(place)
        if isinstance(value, dict) and name != "task":
            yield from _settings(view, place, f"{prefix}{name}.")
        elif isinstance(value, _PLAIN_SETTINGS) and not _is_private(name, value):
            yield f"{prefix}{name}", view.fact(place)


def _is_private(name: str, value: str | int | float | bool) -> bool:
    """Whether a setting is a path of the machine that trained.

    Paths say nothing about the model, and may say something about a person.
    """
    is_path = isinstance(value, str) and ("/" in value or "\\" in value)
    return is_path or name in _PRIVATE_SETTINGS


def _dataset(node: Node, graph: Graph, about: AboutFacts) -> DatasetFacts:
    view, rows = node.manifest, node.rows["examples"]
    folder = view.whole().model_copy(
        update={"value": node.name.split("/")[-1], "rule": "name of its folder"}
    )
    lineage = graph.ancestors(node.name)
    return DatasetFacts(
        artifact=node.name,
        name=first_known(about.texts["dataset_name"], folder),
        rows=rows.fact("/rows"),
        splits=rows.facts("/splits"),
        groups=rows.fact("/groups"),
        prompts=rows.fact("/prompts"),
        train_bytes=rows.fact("/train_bytes"),
        untraced=rows.fact("/untraced"),
        task=_task(view),
        curation=dict(_settings(view, "/config", "")),
        contamination=dict(_settings(view, "/results/contamination", "")),
        sampling=view.facts("/sampling"),
        collections=tuple(found.name for found in lineage if found.kind == "completions"),
    )


def _task(view: View) -> SettingsOfTask:
    labels = [view.fact(place) for _, place in view.children("/results/task/labels")]
    return SettingsOfTask(
        name=view.fact("/results/task/name"),
        kind=view.fact("/results/task/kind"),
        labels=tuple(labels),
    )


def _teachers(dataset: Node | None, collections: Sequence[Node]) -> Iterator[TeacherFacts]:
    """One entry per teacher and model that wrote rows; else the teacher of the manifest."""
    views = [dataset.rows["examples"]] if dataset else []
    views += [] if dataset else [node.rows["completions"] for node in collections]
    known = False
    for view in views:
        for _, place in view.children("/models"):
            known = True
            yield _teacher(view, place, collections)
    if not known and dataset is not None and dataset.manifest.get("/teacher/id"):
        yield _unseen_teacher(dataset)


def _teacher(view: View, place: str, collections: Sequence[Node]) -> TeacherFacts:
    asked = view.fact(f"{place}/teacher")
    same = [node for node in collections if node.manifest.get("/teacher/id") == asked.value]
    several = [node.manifest.fact("/teacher/id") for node in collections]

    def told(name: str) -> Fact:
        """What the collection that asked this teacher, and no other, says of it."""
        if not same:
            return derived(None, NOT_RECORDED, asked, *several)
        fact = same[0].manifest.fact(f"/teacher/{name}")
        rule = "of the collection that asked it" if fact.is_known else NOT_RECORDED
        return derived(fact.value, rule, fact, asked, *several)

    return TeacherFacts(
        id=asked,
        model=view.fact(f"{place}/model"),
        provider=told("provider"),
        revision=told("revision"),
        rows=view.fact(f"{place}/rows"),
        train_rows=view.fact(f"{place}/train_rows"),
        train_tokens=_counted(view.fact(f"{place}/train_tokens")),
        first_utc=view.fact(f"{place}/first_utc"),
        last_utc=view.fact(f"{place}/last_utc"),
    )


def _counted(tokens: Fact) -> Fact:
    """The tokens, unless there are none: imports often do not tell."""
    return tokens if tokens.value else derived(None, NOT_RECORDED, tokens)


def _unseen_teacher(dataset: Node) -> TeacherFacts:
    """What the dataset's manifest says of a teacher whose calls are not in the lineage."""
    view, rows = dataset.manifest, dataset.rows["examples"]
    return TeacherFacts(
        id=view.fact("/teacher/id"),
        model=view.fact("/teacher/revision"),
        provider=view.fact("/teacher/provider"),
        revision=view.fact("/teacher/revision"),
        rows=rows.fact("/models"),
        train_rows=rows.fact("/models"),
        train_tokens=rows.fact("/models"),
        first_utc=rows.fact("/models"),
        last_utc=rows.fact("/models"),
    )


def _import(node: Node) -> ImportFacts:
    view = node.manifest
    return ImportFacts(
        artifact=node.name,
        source=view.fact("/results/source"),
        format=view.fact("/results/format"),
        rows=view.fact("/results/rows"),
        scrubbed=view.facts("/results/scrubbed"),
    )


def _about(view: View) -> AboutFacts:
    texts: dict[str, Fact] = {}
    sources: dict[str, DataSourceFacts] = {}
    for model, pointer, name, annotation in _declared(About, ""):
        if _holds(annotation, DataSource):
            sources[name] = DataSourceFacts(
                used=view.fact(f"{pointer}/used"), description=view.fact(f"{pointer}/description")
            )
        elif model is not None:
            texts[f"{model}{name}"] = view.fact(pointer)
    languages = tuple(view.fact(place) for _, place in view.children("/languages"))
    return AboutFacts(texts=texts, sources=sources, languages=languages)


def _declared(model: type[BaseModel], pointer: str) -> Iterator[tuple[str, str, str, Any]]:
    """Each field of the user's file: the name of its part with a dot, pointer, name, type."""
    part = pointer[1:].replace("/", ".")
    for name, field in model.model_fields.items():
        place = f"{pointer}/{escaped(name)}"
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _declared(annotation, place)
        else:
            yield f"{part}." if part else "", place, name, annotation


def _holds(annotation: Any, wanted: type[BaseModel]) -> bool:
    return wanted in getattr(annotation, "__args__", ())
