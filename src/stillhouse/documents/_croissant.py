"""Croissant 1.1 with the RAI vocabulary 1.0: the dataset, file by file and field by field.

Made for the folder of the dataset: files are named as they lie there, so `mlcroissant` reads the
rows wherever the folder and this document are put together. Provenance is PROV-O, as the
section "Provenance Representation" of the specification shows it; the context is that of
`mlcroissant`, with PROV-O added.
"""

from collections.abc import Iterator

from stillhouse.documents._document import Document, json_document
from stillhouse.documents._facts import Fact, derived, first_known, written
from stillhouse.documents._identity import day, slug, uuid_of
from stillhouse.documents._phrases import (
    curation_line,
    dropped_line,
    earliest,
    latest,
    teacher_line,
)
from stillhouse.documents._sheet import DatasetFacts, FactSheet, FileFacts, TeacherFacts
from stillhouse.documents._trees import Tree

_STANDARD = "Croissant 1.1 with RAI 1.0"
_PARQUET = "application/x-parquet"
_SPDX = "https://spdx.org/licenses/"
_FILES = "example-files"
_CONTEXT: dict[str, Tree] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# Columns of `Example` (docs/format.md, section 5) as Croissant fields: type, array, words.
_FIELDS = (
    ("id", "sc:Text", "Id of the row."),
    ("prompt_id", "sc:Text", "Id of the prompt."),
    ("request_id", "sc:Text", "SHA-256 of the call that the completion is the answer to."),
    ("completion", "sc:Text", "What the teacher answered: the text to learn."),
    ("split", "sc:Text", "train or held_out."),
    ("group", "sc:Text", "What the prompt is about; rows of one group are on one side."),
)


def documents(sheet: FactSheet) -> Iterator[Document]:
    """The description of the dataset, where there is one."""
    if sheet.dataset is not None:
        yield json_document(
            "croissant",
            _dataset(sheet, sheet.dataset),
            group="croissant",
            file="dataset/croissant.json",
            standard=_STANDARD,
        )


def _dataset(sheet: FactSheet, dataset: DatasetFacts) -> Tree:
    artifact = sheet.artifact(dataset.artifact)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": slug(dataset.name),
        "description": _description(dataset),
        "version": "1.0.0",
        "dct:identifier": artifact.manifest_sha256,
        "license": _license(sheet.said("dataset_license")),
        "url": first_known(
            sheet.said("dataset_download"), uuid_of("dataset", artifact.manifest_sha256)
        ),
        "citeAs": sheet.said("citation"),
        "inLanguage": list(sheet.about.languages),
        "dateCreated": day(artifact.created_utc),
        "datePublished": first_known(sheet.said("released"), day(artifact.created_utc)),
        "creator": _creator(sheet),
        "keywords": ["distillation", "synthetic data"],
        "usageInfo": _usage(sheet),
        "prov:wasGeneratedBy": [_activity(teacher) for teacher in sheet.teachers],
        "prov:wasAttributedTo": [_agent(teacher) for teacher in sheet.teachers],
        "rai:dataCollection": _collection(sheet),
        "rai:dataCollectionType": [_collection_type(sheet)],
        "rai:dataCollectionTimeframe": _timeframe(sheet),
        # What mlcroissant 1.1 reads in its place, with a capital F.
        "rai:dataCollectionTimeFrame": _timeframe(sheet),
        "rai:dataPreprocessingProtocol": [curation_line(dataset), dropped_line(artifact)],
        "rai:machineAnnotationTools": [teacher_line(teacher) for teacher in sheet.teachers],
        "rai:dataBiases": [sheet.said("data.biases")],
        "rai:dataUseCases": [sheet.said("data.purpose")],
        "rai:personalSensitiveInformation": [sheet.said("data.personal_information")],
        "distribution": [*(_file(file) for file in _examples(sheet, dataset)), _file_set()],
        "recordSet": [_splits(dataset), _rows(sheet)],
    }


def _description(dataset: DatasetFacts) -> Fact:
    return written(
        "{rows} rows of prompts and the answers of teachers, from which a student learns.",
        rows=dataset.rows,
    )


def _license(declared: Fact) -> Fact:
    """The address of a licence that SPDX lists; any other as it is declared."""
    text = declared.value
    if not isinstance(text, str) or " " in text or text.startswith("LicenseRef-"):
        return declared
    return derived(f"{_SPDX}{text}", "the licence's address at SPDX", declared)


def _creator(sheet: FactSheet) -> Tree:
    name = sheet.said("provider.name")
    return {"@type": "sc:Organization", "name": name} if name.is_known else None


def _usage(sheet: FactSheet) -> list[Tree]:
    """Duties, as text: the terms say in which words (section "Data Use Conditions")."""
    if sheet.terms is None:
        return []
    return [
        written("{kind}: {value}", kind=duty.kind, value=duty.value) for duty in sheet.terms.duties
    ]


def _activity(teacher: TeacherFacts) -> Tree:
    return {
        "@type": "prov:Activity",
        "prov:label": teacher_line(teacher),
        "prov:startedAtTime": teacher.first_utc,
        "prov:endedAtTime": teacher.last_utc,
        "prov:wasAssociatedWith": _agent(teacher),
    }


def _agent(teacher: TeacherFacts) -> Tree:
    return {
        "@type": "prov:SoftwareAgent",
        "prov:label": first_known(teacher.model, teacher.id),
    }


def _collection(sheet: FactSheet) -> Fact:
    facts = [teacher.id for teacher in sheet.teachers]
    text = "Prompts were sent to the teachers, and their answers recorded." if facts else None
    return derived(text, "where a teacher is recorded", *facts)


def _timeframe(sheet: FactSheet) -> list[Tree]:
    return [
        earliest(teacher.first_utc for teacher in sheet.teachers),
        latest(teacher.last_utc for teacher in sheet.teachers),
    ]


def _collection_type(sheet: FactSheet) -> Fact:
    facts = [teacher.id for teacher in sheet.teachers]
    value = "Software Collection" if facts else None
    return derived(value, "where a teacher is recorded", *facts)


def _examples(sheet: FactSheet, dataset: DatasetFacts) -> Iterator[FileFacts]:
    for file in sheet.artifact(dataset.artifact).files:
        if str(file.name.value).startswith("examples-"):
            yield file


def _file(file: FileFacts) -> Tree:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "contentUrl": file.name,
        "contentSize": written("{bytes} B", bytes=_plain(file.bytes)),
        "encodingFormat": _PARQUET,
        "sha256": file.sha256,
    }


def _plain(number: Fact) -> Fact:
    return number.model_copy(update={"value": str(number.value)})


def _file_set() -> Tree:
    return {
        "@type": "cr:FileSet",
        "@id": _FILES,
        "name": _FILES,
        "encodingFormat": _PARQUET,
        "includes": "examples-*.parquet",
    }


def _splits(dataset: DatasetFacts) -> Tree:
    kinds = {"train": "cr:TrainingSplit", "held_out": "cr:TestSplit"}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "dataType": ["sc:URL", "cr:Split"]},
        ],
        "data": [
            {"splits/name": _named(name, rows), "splits/url": kinds.get(name, "cr:Split")}
            for name, rows in dataset.splits.items()
        ],
    }


def _named(name: str, rows: Fact) -> Fact:
    return derived(name, "a split that has rows", rows)


def _rows(sheet: FactSheet) -> Tree:
    return {
        "@type": "cr:RecordSet",
        "@id": "examples",
        "name": "examples",
        "key": {"@id": "examples/id"},
        "field": [*(_field(sheet, *column) for column in _FIELDS), _messages()],
    }


def _field(sheet: FactSheet, name: str, kind: str, words: str) -> Tree:
    field: dict[str, Tree] = {
        "@type": "cr:Field",
        "@id": f"examples/{name}",
        "name": name,
        "description": words,
        "dataType": kind,
        "source": {"fileSet": {"@id": _FILES}, "extract": {"column": name}},
    }
    if name == "split":
        field["references"] = {"field": {"@id": "splits/name"}}
    if name == "completion":
        field["prov:wasAttributedTo"] = [_agent(teacher) for teacher in sheet.teachers]
    return field


def _messages() -> Tree:
    """The prompt: a list of turns, each with a role and a text."""
    parts = (("role", "Who speaks: system, user, assistant or tool."), ("content", "The text."))
    return {
        "@type": "cr:Field",
        "@id": "examples/messages",
        "name": "messages",
        "description": "The prompt, turn by turn.",
        "isArray": True,
        "arrayShape": "-1",
        "subField": [
            {
                "@type": "cr:Field",
                "@id": f"examples/messages/{name}",
                "name": name,
                "description": words,
                "dataType": "sc:Text",
                "source": {
                    "fileSet": {"@id": _FILES},
                    "extract": {"column": "messages"},
                    "transform": {"jsonPath": name},
                },
            }
            for name, words in parts
        ],
    }
