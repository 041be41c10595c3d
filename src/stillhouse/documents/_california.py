"""California's documentation of training data: the twelve points of AB 2013.

Source: California Civil Code, section 3111(a)(1) to (12), as in force from 1 January 2026. The
points are given in our own short words, in the order and with the numbers of the law.
"""

from collections.abc import Iterator

from stillhouse.documents._document import Document
from stillhouse.documents._facts import Fact, derived, first_known, listed, written
from stillhouse.documents._identity import day
from stillhouse.documents._pages import page, section
from stillhouse.documents._phrases import (
    curation_line,
    dropped_line,
    earliest,
    is_synthetic,
    period,
    teacher_line,
)
from stillhouse.documents._sheet import ArtifactFacts, FactSheet, ModelFacts
from stillhouse.documents._trees import Tree

_STANDARD = "California Civil Code section 3111(a), AB 2013"


def documents(sheet: FactSheet) -> Iterator[Document]:
    """The page, where there is a model."""
    if sheet.model is not None:
        yield page(
            "california",
            group="california",
            file="california_ab2013.md",
            standard=_STANDARD,
            title=written("Training data of {name}", name=sheet.model.name),
            sections=_sections(sheet, sheet.model),
        )


def _sections(sheet: FactSheet, model: ModelFacts) -> dict[str, Tree]:
    dataset = sheet.dataset
    made = sheet.artifact(dataset.artifact) if dataset else None
    return {
        "model": section(
            "Model",
            "The points of section 3111 of the California Civil Code, which binds developers of "
            "generative artificial intelligence systems.",
            fields={
                "Kind": model.what,
                "Version": model.version,
                "Developer": sheet.said("provider.name"),
            },
        ),
        "1": _point(
            "1. Sources or owners",
            {
                "Declared": sheet.said("data.owners"),
                "Models that wrote answers": listed(t.model for t in sheet.teachers),
                "Imported files": listed(one.source for one in sheet.imports),
            },
        ),
        "2": _point(
            "2. How the data furthers the intended purpose",
            {
                "Declared": sheet.said("data.purpose"),
                "Intended use of the model": sheet.said("intended_use"),
                "Trained by": model.objective,
            },
        ),
        "3": _point(
            "3. Number of data points",
            {f"Rows of {name}": number for name, number in dataset.splits.items()}
            if dataset
            else {},
        ),
        "4": _point("4. Types of data points", _types(sheet)),
        "5": _point(
            "5. Copyright, trademark, patent, or public domain",
            {"Declared": sheet.said("data.protected_by_rights")},
        ),
        "6": _point(
            "6. Purchased or licensed",
            {
                "Declared": sheet.said("data.purchased_or_licensed"),
                "Terms of what the data came from": _terms(sheet),
            },
        ),
        "7": _point(
            "7. Personal information",
            {
                "Declared": sheet.said("data.personal_information"),
                **{
                    f"Taken out: {kind}": number
                    for one in sheet.imports
                    for kind, number in one.scrubbed.items()
                },
            },
        ),
        "8": _point(
            "8. Aggregate consumer information",
            {"Declared": sheet.said("data.consumer_information")},
        ),
        "9": _point(
            "9. Cleaning, processing and other modification",
            {"Curation": curation_line(dataset), "Rows": dropped_line(made)}
            if dataset and made
            else {},
        ),
        "10": _point(
            "10. Period of collection",
            {
                "Answers of teachers": period(sheet.teachers),
                "Collection is ongoing": sheet.said("data.is_collection_ongoing"),
            },
        ),
        "11": _point("11. Dates of first use", {"First used": _first_use(sheet, made)}),
        "12": _point(
            "12. Synthetic data generation",
            {
                "Used": is_synthetic(sheet),
                **{
                    f"Model {number}": teacher_line(teacher)
                    for number, teacher in enumerate(sheet.teachers, start=1)
                },
                "Need": sheet.said("data.purpose"),
            },
        ),
    }


def _point(heading: str, fields: dict[str, Fact]) -> Tree:
    return section(heading, *([] if fields else ["Not recorded"]), fields=fields)


def _types(sheet: FactSheet) -> dict[str, Fact]:
    dataset = sheet.dataset
    if dataset is None:
        return {}
    text = derived("prompts and answers, as text", "what rows are", dataset.rows)
    return {
        "General characteristics": text,
        "Content": sheet.said("data.content"),
        "Task": dataset.task.kind,
        "Labels": listed(dataset.task.labels),
        "Languages": listed(sheet.about.languages),
    }


def _terms(sheet: FactSheet) -> Fact:
    if sheet.terms is None:
        return sheet.no_terms
    return listed(finding.source for finding in sheet.terms.findings)


def _first_use(sheet: FactSheet, made: ArtifactFacts | None) -> Fact:
    """The day when the first artefact was made from the dataset; else that of the dataset."""
    if made is None:
        return derived(None, "no dataset in the lineage")
    users = [one.created_utc for one in sheet.artifacts if made.name in one.parents]
    return day(first_known(earliest(users), made.created_utc))
