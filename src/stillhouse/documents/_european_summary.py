"""The European Union's public summary of training content, as Markdown and JSON.

Sections and field names are those of the Commission's template of 24 July 2025 for Article
53(1)(d) of Regulation (EU) 2024/1689, adopted on 5 December 2025 as C(2025) 8311 final. We read
them in two copies that agree: the filled form of Apertus (Swiss AI, September 2025) and a mapping
of the template's fields; not in the Commission's own file. Optional "additional comments" are left
out where nothing would stand there.

Where a teacher wrote rows, section 2.5 says yes; every other yes or no is the user's.
"""

from collections.abc import Iterator

from stillhouse.documents._document import Document, json_document
from stillhouse.documents._facts import Fact, derived, first_known, listed, written
from stillhouse.documents._identity import day
from stillhouse.documents._pages import NOTE, page, section
from stillhouse.documents._phrases import (
    curation_line,
    dropped_line,
    is_synthetic,
    latest,
    period,
    teacher_line,
    total,
)
from stillhouse.documents._sheet import DataSourceFacts, FactSheet, ModelFacts
from stillhouse.documents._trees import Tree

_STANDARD = "Template for the public summary of training content, C(2025) 8311, of 24 July 2025"
_TITLE = "Public summary of training content: {name}"
_BILLION = 10**9
_BANDS = (
    (_BILLION, "Less than 1 billion tokens"),
    (10_000 * _BILLION, "1 billion to 10 trillion tokens"),
)
_LANGUAGES = "Description of the linguistic characteristics of the overall training data"
_LARGEST = "More than 10 trillion tokens"


def documents(sheet: FactSheet) -> Iterator[Document]:
    """The summary as a page and as data, where there is a model."""
    if sheet.model is None:
        return
    sections = _sections(sheet, sheet.model)
    yield page(
        "eu_summary",
        group="eu",
        file="eu_training_content.md",
        standard=_STANDARD,
        title=written(_TITLE, name=sheet.model.name),
        sections=sections,
    )
    yield json_document(
        "eu_summary_data",
        {"template": _STANDARD, "note": NOTE, "sections": sections},
        group="eu",
        file="eu_training_content.json",
        standard=_STANDARD,
        keep_empty=True,
    )


def _sections(sheet: FactSheet, model: ModelFacts) -> dict[str, Tree]:
    subject = sheet.artifact(sheet.subject)
    return {
        "summary": section(
            "Summary",
            "The form of Article 53(1)(d) of Regulation (EU) 2024/1689 (AI Act), which binds "
            "providers of general-purpose AI models.",
            fields={
                "Version of the Summary": model.version,
                "Last update": first_known(sheet.said("released"), day(subject.created_utc)),
            },
        ),
        **_general(sheet, model),
        **_data_sources(sheet),
        **_processing(sheet),
    }


def _general(sheet: FactSheet, model: ModelFacts) -> dict[str, Tree]:
    last = day(latest(teacher.last_utc for teacher in sheet.teachers))
    return {
        "1": section("1. General information"),
        "1.1": section(
            "1.1. Provider identification",
            level=3,
            fields={
                "Provider name and contact details": _joined(
                    sheet.said("provider.name"), sheet.said("provider.contact")
                ),
                "Authorised representative name and contact details": sheet.said(
                    "provider.representative"
                ),
            },
        ),
        "1.2": section(
            "1.2. Model identification",
            level=3,
            fields={
                "Kind": model.what,
                "Versioned model name(s)": written(
                    "{name} {version}", name=model.name, version=model.version
                ),
                "Model dependencies": _dependencies(model),
                "Date of placement of the model on the Union market": sheet.said("union_market"),
            },
        ),
        "1.3": section(
            "1.3. Modalities, overall training data size and other characteristics",
            level=3,
            fields={
                "Modality": derived("Text", "students learn from text", model.what),
                "Training data size": _size(sheet),
                "Training data size in other units": _rows(sheet),
                "Types of content": sheet.said("data.content"),
                "Latest date of data acquisition/collection for model training": last,
                "Is data collection ongoing": sheet.said("data.is_collection_ongoing"),
                _LANGUAGES: listed(sheet.about.languages),
                "Other relevant characteristics of the overall training data": sheet.said(
                    "data.biases"
                ),
            },
        ),
    }


def _dependencies(model: ModelFacts) -> Fact:
    """The model that this one was trained from; its teachers stand in section 2.5."""
    with_revision = written(
        "{base}, revision {revision}", base=model.base, revision=model.base_revision
    )
    return first_known(with_revision, model.base)


def _size(sheet: FactSheet) -> Fact:
    """The template's band; a text has no more tokens than bytes in a byte-level vocabulary."""
    dataset = sheet.dataset
    if dataset is None:
        return derived(None, "no dataset in the lineage", *_ids(sheet))
    size = dataset.train_bytes
    if isinstance(size.value, int) and size.value < _BANDS[0][0]:
        return derived(_BANDS[0][1], "fewer bytes, and so fewer tokens, than that", size)
    tokens = _tokens(sheet)
    if not isinstance(tokens.value, int) or not tokens.value:
        return derived(None, "not recorded", tokens, size)
    band = next((name for bound, name in _BANDS if tokens.value < bound), _LARGEST)
    return derived(band, "by the teachers' count of tokens", tokens)


def _rows(sheet: FactSheet) -> Fact:
    dataset = sheet.dataset
    if dataset is None or "train" not in dataset.splits:
        return derived(None, "not recorded", *_ids(sheet))
    rows = written(
        "{rows} rows of {bytes} bytes", rows=dataset.splits["train"], bytes=dataset.train_bytes
    )
    tokens = written(
        "{rows}; {tokens} tokens as the teachers count them", rows=rows, tokens=_tokens(sheet)
    )
    return first_known(tokens, rows)


def _tokens(sheet: FactSheet) -> Fact:
    return total([teacher.train_tokens for teacher in sheet.teachers])


def _ids(sheet: FactSheet) -> list[Fact]:
    return [teacher.id for teacher in sheet.teachers]


def _data_sources(sheet: FactSheet) -> dict[str, Tree]:
    said = sheet.about.sources
    return {
        "2": section("2. List of data sources"),
        "2.1": _source(
            "2.1. Publicly available datasets",
            "Have you used publicly available datasets to train the model?",
            "List and general description of publicly available datasets",
            said["public_datasets"],
        ),
        "2.2": section(
            "2.2. Private non-publicly available datasets obtained from third parties", level=3
        ),
        "2.2.1": _source(
            "2.2.1. Datasets commercially licensed by rightsholders or their representatives",
            "Have you concluded transactional commercial licensing agreement(s) with "
            "rightsholder(s) or with their representatives?",
            "General description",
            said["licensed_datasets"],
            level=4,
        ),
        "2.2.2": _source(
            "2.2.2. Private datasets obtained from other third parties",
            "Have you obtained private datasets from third parties that are not licensed as "
            "described in Section 2.2.1?",
            "General description",
            said["private_datasets"],
            level=4,
        ),
        "2.3": _source(
            "2.3. Data crawled and scraped from online sources",
            "Were crawlers used by the provider or on behalf of?",
            "Crawlers, purposes, behaviour, period, content and domain names",
            said["crawled"],
        ),
        "2.4": section(
            "2.4. User data",
            level=3,
            fields={
                "Was data from user interactions with the AI model (e.g. user input and prompts) "
                "used to train the model?": said["user_interactions"].used,
                "Was data collected from user interactions with the provider's other services or "
                "products used to train the model?": said["user_services"].used,
                "General description of the services or products": first_known(
                    said["user_services"].description, said["user_interactions"].description
                ),
            },
        ),
        "2.5": _synthetic(sheet),
        "2.6": _source(
            "2.6. Other sources of data",
            "Have data sources other than those described in Sections 2.1 to 2.5 been used to "
            "train the model?",
            "Narrative description of these data sources and the data",
            said["other"],
        ),
    }


def _source(
    heading: str, question: str, words: str, said: DataSourceFacts, *, level: int = 3
) -> Tree:
    return section(heading, level=level, fields={question: said.used, words: said.description})


def _synthetic(sheet: FactSheet) -> Tree:
    teachers = sheet.teachers
    return section(
        "2.5. Synthetic data",
        level=3,
        fields={
            "Was synthetic AI-generated data created by the provider or on their behalf to train "
            "the model?": is_synthetic(sheet),
            "Modality of the synthetic data": derived(
                "Text" if teachers else None, "teachers answer in text", *_ids(sheet)
            ),
            "AI model(s) used to generate the synthetic data": listed(
                map(teacher_line, teachers), separator="; "
            ),
            "Period of generation": period(teachers),
            "Training rows whose generating call is not in the records": sheet.dataset.untraced
            if sheet.dataset
            else derived(None, "no dataset in the lineage", *_ids(sheet)),
        },
        columns=["Model", "Asked as", "Provider", "Training rows", "Tokens"],
        rows=[
            [
                teacher.model,
                teacher.id,
                teacher.provider,
                teacher.train_rows,
                teacher.train_tokens,
            ]
            for teacher in teachers
        ],
    )


def _processing(sheet: FactSheet) -> dict[str, Tree]:
    dataset = sheet.dataset
    facts: dict[str, Fact] = {}
    if dataset is not None:
        facts = {
            "Curation": curation_line(dataset),
            "Rows kept": dropped_line(sheet.artifact(dataset.artifact)),
        }
    return {
        "3": section("3. Data processing aspects"),
        "3.1": section(
            "3.1. Respect of reservation of rights from text and data mining exception or "
            "limitation",
            level=3,
            fields={
                "Are you a Signatory to the Code of Practice for general-purpose AI models that "
                "includes commitments to respect reservations of rights from the TDM exception or "
                "limitation?": sheet.said("data.is_code_signatory"),
                "Measures implemented before model training to respect reservations of rights "
                "from the TDM exception or limitation": sheet.said("data.opt_outs"),
            },
        ),
        "3.2": section(
            "3.2. Removal of illegal content",
            level=3,
            fields={"General description of measures taken": sheet.said("data.illegal_content")},
        ),
        "3.3": section("3.3. Other information (optional)", level=3, fields=facts),
    }


def _joined(name: Fact, contact: Fact) -> Fact:
    both = written("{name}, {contact}", name=name, contact=contact)
    return first_known(both, name, contact)
