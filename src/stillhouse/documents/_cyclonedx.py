"""CycloneDX 1.7 ML-BOM: the student as a component with its model card, data and ancestors.

Names and enumerations are those of `bom-1.7.schema.json`. A BOM has no relation "distilled from":
as its maintainers advise, teachers are ancestors in the pedigree, beside the base model, and the
property `stillhouse:relation` says which of the two each one is.
"""

from collections.abc import Iterator

from stillhouse.documents._document import Document, json_document
from stillhouse.documents._facts import Fact, derived, first_known
from stillhouse.documents._identity import uuid_of, whole_second
from stillhouse.documents._phrases import (
    as_text,
    dropped_line,
    teacher_line,
)
from stillhouse.documents._sheet import (
    ArtifactFacts,
    DatasetFacts,
    EvaluationFacts,
    FactSheet,
    FileFacts,
    ModelFacts,
    TeacherFacts,
)
from stillhouse.documents._trees import Tree

_STANDARD = "CycloneDX 1.7"
_SCHEMA = "http://cyclonedx.org/schema/bom-1.7.schema.json"
_MODEL, _DATASET = "model", "dataset"


def documents(sheet: FactSheet) -> Iterator[Document]:
    """The bill of materials, where there is a model."""
    if sheet.model is not None:
        yield json_document(
            "cyclonedx",
            _bom(sheet, sheet.model),
            group="cyclonedx",
            file="bom.cdx.json",
            standard=_STANDARD,
        )


def _bom(sheet: FactSheet, model: ModelFacts) -> Tree:
    subject = sheet.artifact(sheet.subject)
    dataset = sheet.dataset
    return {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": uuid_of("bom", subject.manifest_sha256),
        "version": 1,
        "metadata": {
            "timestamp": whole_second(subject.created_utc),
            "lifecycles": [{"phase": "build"}],
            "tools": {
                "components": [
                    {"type": "application", "name": "stillhouse", "version": subject.version}
                ]
            },
            "component": _model(sheet, model),
            "supplier": _supplier(sheet),
        },
        "components": [
            _data(sheet, dataset) if dataset else None,
            *(_file(file) for file in _files(sheet, model)),
        ],
        "externalReferences": _references(sheet),
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [_DATASET] if dataset else []},
            {"ref": _DATASET} if dataset else None,
        ],
        "properties": _terms(sheet),
    }


def _model(sheet: FactSheet, model: ModelFacts) -> Tree:
    artifact = sheet.artifact(model.artifact)
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": model.name,
        "version": model.version,
        "description": sheet.said("intended_use"),
        "hashes": [_sha256(artifact.manifest_sha256)],
        "licenses": _licenses(sheet.said("license")),
        "pedigree": {
            "ancestors": [_base(model), *(_teacher(teacher) for teacher in sheet.teachers)],
        },
        "modelCard": _model_card(sheet, model),
        "properties": [
            _property("hashes", "SHA-256 of the manifest, which holds that of every file"),
            _property("objective", model.objective),
            _property("parameters", model.parameters),
            _property("layers", model.layers),
            _property("steps", model.steps),
            _property("trained_tokens", model.trained_tokens),
            *(_property(f"setting:{name}", fact) for name, fact in model.settings.items()),
            *(_property(f"seed:{name}", fact) for name, fact in model.seeds.items()),
        ],
    }


def _base(model: ModelFacts) -> Tree:
    if not model.base.is_known:
        return None
    return {
        "type": "machine-learning-model",
        "name": model.base,
        "version": model.base_revision,
        "properties": [_property("relation", "base model")],
    }


def _teacher(teacher: TeacherFacts) -> Tree:
    return {
        "type": "machine-learning-model",
        "name": teacher.id,
        "publisher": teacher.provider,
        "version": first_known(teacher.model, teacher.revision),
        "description": teacher_line(teacher),
        "properties": [
            _property("relation", "teacher"),
            _property("training_rows", teacher.train_rows),
            _property("training_tokens", teacher.train_tokens),
            _property("first_answer", teacher.first_utc),
            _property("last_answer", teacher.last_utc),
        ],
    }


def _model_card(sheet: FactSheet, model: ModelFacts) -> Tree:
    dataset = sheet.dataset
    task = dataset.task.kind if dataset else None
    # Encoder or network is not said in all records, so no family and no architecture is named.
    return {
        "modelParameters": {
            "approach": {
                "type": derived("supervised", "it learnt from a teacher's answers", model.what)
            },
            "task": task,
            "datasets": [{"ref": _DATASET}] if dataset else None,
            "inputs": [{"format": derived("text", "students read text", model.what)}],
            "outputs": [{"format": _output(model)}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                _metric for one in sheet.evaluations for _metric in _metrics(sheet, one)
            ],
        },
        "considerations": {
            "users": [sheet.said("users")],
            "useCases": [sheet.said("intended_use")],
            "technicalLimitations": [sheet.said("limitations"), sheet.said("out_of_scope")],
        },
    }


def _output(model: ModelFacts) -> Fact:
    is_text = model.what.value == "language model"
    return derived("text" if is_text else "label", "by what the student is", model.what)


def _metrics(sheet: FactSheet, evaluation: EvaluationFacts) -> list[Tree]:
    data = sheet.artifact(evaluation.dataset).path if evaluation.dataset else None
    held_out = (
        derived(f"held-out rows of {data.value}", "where it was measured", data) if data else None
    )
    return [
        {
            "type": metric.label,
            "value": as_text(metric.value),
            "slice": held_out,
            "confidenceInterval": {
                "lowerBound": as_text(metric.low),
                "upperBound": as_text(metric.high),
            },
        }
        for metric in evaluation.metrics
    ]


def _data(sheet: FactSheet, dataset: DatasetFacts) -> Tree:
    artifact = sheet.artifact(dataset.artifact)
    return {
        "type": "data",
        "bom-ref": _DATASET,
        "name": dataset.name,
        "version": derived(
            str(artifact.manifest_sha256.value)[:12],
            "first digits of the manifest's SHA-256",
            artifact.manifest_sha256,
        ),
        "hashes": [_sha256(artifact.manifest_sha256)],
        "licenses": _licenses(sheet.said("dataset_license")),
        "components": [_file(file) for file in artifact.files],
        "data": [
            {
                "type": "dataset",
                "name": dataset.name,
                "description": dropped_line(artifact),
                "contents": {
                    "url": sheet.said("dataset_download"),
                    "properties": [
                        _property("rows", dataset.rows),
                        *(
                            _property(f"rows:{name}", number)
                            for name, number in dataset.splits.items()
                        ),
                        _property("rows_root", artifact.rows_root),
                    ],
                },
                "sensitiveData": [sheet.said("data.personal_information")],
                "governance": _governance(sheet),
            }
        ],
    }


def _governance(sheet: FactSheet) -> Tree:
    name = sheet.said("provider.name")
    if not name.is_known:
        return None
    return {"custodians": [{"organization": {"name": name}}]}


def _files(sheet: FactSheet, model: ModelFacts) -> Iterator[FileFacts]:
    """Files of the model, and of what was made from it, where that is what the BOM is about."""
    names = dict.fromkeys((model.artifact, sheet.subject))
    artifacts: list[ArtifactFacts] = [sheet.artifact(name) for name in names]
    for artifact in artifacts:
        yield from artifact.files


def _file(file: FileFacts) -> Tree:
    return {
        "type": "file",
        "name": file.name,
        "hashes": [_sha256(file.sha256)],
        "properties": [_property("bytes", file.bytes), _property("rows", file.rows)],
    }


def _supplier(sheet: FactSheet) -> Tree:
    """The provider; a name alone is not enough for a contact, which wants to be one of a person."""
    return {"name": sheet.said("provider.name")}


def _references(sheet: FactSheet) -> list[Tree]:
    places = {"website": "homepage", "distribution": "download"}
    return [
        {"type": kind, "url": sheet.said(name)} if sheet.said(name).is_known else None
        for kind, name in places.items()
    ]


def _licenses(declared: Fact) -> Tree:
    """The declared licence; nothing where none is, since a BOM may not guess."""
    if not declared.is_known:
        return None
    return [{"expression": declared, "acknowledgement": "declared"}]


def _terms(sheet: FactSheet) -> list[Tree]:
    terms = sheet.terms
    if terms is None:
        return []
    return [
        _property("terms:verdict", terms.verdict),
        _property("terms:registry", terms.registry_sha256),
        *(
            _property(f"terms:duty:{number}:{part}", fact)
            for number, duty in enumerate(terms.duties)
            for part, fact in (("kind", duty.kind), ("value", duty.value), ("clause", duty.clause))
        ),
        _property("terms:note", terms.note),
    ]


def _property(name: str, value: Fact | str) -> Tree:
    """A property of our own; nothing where its value is not recorded."""
    if isinstance(value, Fact) and not value.is_known:
        return None
    text = as_text(value) if isinstance(value, Fact) else value
    return {"name": f"stillhouse:{name}", "value": text}


def _sha256(fact: Fact) -> Tree:
    return {"alg": "SHA-256", "content": fact}
