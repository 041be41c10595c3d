"""SPDX 3.0.1 with the AI and Dataset profiles, as JSON-LD.

Classes, properties and enumerations are those of `spdx_python_model.bindings.v3_0_1`. A profile
is claimed only where the file has all that its classes demand (AIPackage: suppliedBy,
downloadLocation, packageVersion, primaryPurpose, releaseTime; DatasetPackage: builtTime,
originatedBy, releaseTime, downloadLocation, primaryPurpose), most of which only `--about` knows.
"""

from collections.abc import Iterator, Sequence

from stillhouse.documents._document import Document, json_document
from stillhouse.documents._facts import NOT_RECORDED, Fact, derived, first_known, written
from stillhouse.documents._identity import uuid_of, whole_second
from stillhouse.documents._phrases import (
    as_text,
    curation_line,
    dropped_line,
    named_values,
    period,
    teacher_line,
    with_interval,
)
from stillhouse.documents._sheet import (
    DatasetFacts,
    FactSheet,
    FileFacts,
    ModelFacts,
    TeacherFacts,
)
from stillhouse.documents._trees import Tree

_STANDARD = "SPDX 3.0.1, AI and Dataset profiles"
_CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_CREATION = "_:creation"
_NO_LICENSE = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
_CATEGORIES = {"classification": "categorical", "extraction": "structured"}


def documents(sheet: FactSheet) -> Iterator[Document]:
    """The SPDX document, where there is a model or a dataset."""
    if sheet.model is not None or sheet.dataset is not None:
        yield json_document(
            "spdx",
            {"@context": _CONTEXT, "@graph": _Elements(sheet).all()},
            group="spdx",
            file="spdx.jsonld",
            standard=_STANDARD,
        )


class _Elements:
    """The elements of one document; what refers to another knows its id."""

    def __init__(self, sheet: FactSheet) -> None:
        self._sheet = sheet
        self._subject = sheet.artifact(sheet.subject)
        self._provider = sheet.said("provider.name")

    def all(self) -> list[Tree]:
        sheet = self._sheet
        found: list[Tree] = [self._creation(), self._agent(), self._tool(), *self._supplier()]
        if sheet.dataset is not None:
            found += self._of_dataset(sheet.dataset)
        for number, teacher in enumerate(sheet.teachers):
            found += self._of_teacher(number, teacher)
        if sheet.model is not None:
            found += self._of_model(sheet.model)
        root = "model" if sheet.model is not None else "dataset"
        return [*found, self._document(root)]

    def _id(self, what: str) -> Fact:
        return uuid_of(f"spdx {what}", self._subject.manifest_sha256)

    def _element(self, kind: str, what: str, **fields: Tree) -> dict[str, Tree]:
        return {"type": kind, "spdxId": self._id(what), "creationInfo": _CREATION, **fields}

    def _creation(self) -> Tree:
        return {
            "type": "CreationInfo",
            "@id": _CREATION,
            "specVersion": "3.0.1",
            "created": whole_second(self._subject.created_utc),
            "createdBy": [self._id("agent")],
            "createdUsing": [self._id("tool")],
        }

    def _agent(self) -> Tree:
        return self._element("SoftwareAgent", "agent", name="stillhouse")

    def _tool(self) -> Tree:
        version = written("stillhouse {version}", version=self._subject.version)
        return self._element("Tool", "tool", name=version)

    def _supplier(self) -> list[Tree]:
        if not self._provider.is_known:
            return []
        return [self._element("Organization", "supplier", name=self._provider)]

    def _supplied_by(self) -> Tree:
        return self._id("supplier") if self._provider.is_known else None

    def _document(self, root: str) -> Tree:
        # `import` and `element` are left out: all elements are in this file.
        return self._element(
            "SpdxDocument",
            "document",
            name=written("{subject}", subject=self._subject.path),
            rootElement=[self._id(root)],
            profileConformance=["core", "software", "simpleLicensing", *self._profiles()],
            comment="A record, not legal advice.",
        )

    def _profiles(self) -> list[Tree]:
        needed = [self._provider, self._sheet.said("released")]
        ai = [*needed, self._sheet.said("download")]
        data = [*needed, self._sheet.said("dataset_download")]
        profiles = []
        if self._sheet.model is not None:
            profiles.append(_profile("ai", ai))
        if self._sheet.dataset is not None:
            profiles.append(_profile("dataset", data))
        return [*profiles]

    def _of_model(self, model: ModelFacts) -> Iterator[Tree]:
        sheet = self._sheet
        artifact = sheet.artifact(model.artifact)
        yield self._element(
            "ai_AIPackage",
            "model",
            name=model.name,
            description=sheet.said("intended_use"),
            verifiedUsing=[_sha256(artifact.manifest_sha256)],
            suppliedBy=self._supplied_by(),
            builtTime=whole_second(artifact.created_utc),
            releaseTime=_start_of_day(sheet.said("released")),
            software_primaryPurpose="model",
            software_packageVersion=model.version,
            software_downloadLocation=sheet.said("download"),
            software_homePage=sheet.said("homepage"),
            ai_typeOfModel=[model.what],
            ai_hyperparameter=[
                _entry(name, fact) for name, fact in {**model.settings, **model.seeds}.items()
            ],
            ai_informationAboutTraining=named_values(
                {
                    name: fact
                    for name, fact in (
                        ("objective", model.objective),
                        ("steps", model.steps),
                        ("tokens", model.trained_tokens),
                        ("seconds", artifact.seconds),
                        ("device", artifact.device),
                    )
                    if fact.is_known
                }
            ),
            ai_informationAboutApplication=sheet.said("out_of_scope"),
            ai_limitation=sheet.said("limitations"),
            ai_metric=[
                _entry(metric.label, with_interval(metric))
                for evaluation in sheet.evaluations
                for metric in evaluation.metrics
            ],
            ai_modelDataPreprocessing=[curation_line(sheet.dataset)] if sheet.dataset else None,
            ai_useSensitivePersonalInformation=_presence(sheet),
        )
        for number, file in enumerate(artifact.files):
            yield self._file(f"model file {number}", file)
        files = [self._id(f"model file {number}") for number in range(len(artifact.files))]
        yield self._relation("model", "contains", files)
        yield from self._licensed("model", sheet.said("license"))
        if sheet.dataset is not None:
            yield self._relation("model", "trainedOn", [self._id("dataset")])
        if model.base.is_known:
            yield self._element(
                "ai_AIPackage",
                "base",
                name=model.base,
                software_packageVersion=model.base_revision,
                software_primaryPurpose="model",
            )
            yield self._relation("model", "descendantOf", [self._id("base")])

    def _of_dataset(self, dataset: DatasetFacts) -> Iterator[Tree]:
        sheet = self._sheet
        artifact = sheet.artifact(dataset.artifact)
        yield self._element(
            "dataset_DatasetPackage",
            "dataset",
            name=dataset.name,
            verifiedUsing=[_sha256(artifact.manifest_sha256)],
            originatedBy=[self._id("supplier")] if self._provider.is_known else None,
            builtTime=whole_second(artifact.created_utc),
            releaseTime=_start_of_day(sheet.said("released")),
            software_primaryPurpose="data",
            software_downloadLocation=sheet.said("dataset_download"),
            dataset_datasetType=["text", _category(dataset)],
            dataset_datasetSize=dataset.rows,
            dataset_dataCollectionProcess=_collection(sheet),
            dataset_dataPreprocessing=[curation_line(dataset), dropped_line(artifact)],
            dataset_intendedUse=sheet.said("data.purpose"),
            dataset_knownBias=[sheet.said("data.biases")],
            dataset_hasSensitivePersonalInformation=_presence(sheet),
        )
        for number, file in enumerate(artifact.files):
            yield self._file(f"dataset file {number}", file)
        files = [self._id(f"dataset file {number}") for number in range(len(artifact.files))]
        yield self._relation("dataset", "hasDataFile", files)
        yield from self._licensed("dataset", sheet.said("dataset_license"))

    def _of_teacher(self, number: int, teacher: TeacherFacts) -> Iterator[Tree]:
        what = f"teacher {number}"
        yield self._element(
            "ai_AIPackage",
            what,
            name=teacher.id,
            software_packageVersion=first_known(teacher.model, teacher.revision),
            software_primaryPurpose="model",
            comment=teacher_line(teacher),
        )
        if self._sheet.dataset is not None:
            # The teacher wrote the answers: "generates" is the only relation that says so.
            yield self._relation(what, "generates", [self._id("dataset")])

    def _file(self, what: str, file: FileFacts) -> Tree:
        return self._element(
            "software_File",
            what,
            name=file.name,
            verifiedUsing=[_sha256(file.sha256)],
            comment=written("{bytes} bytes", bytes=file.bytes),
        )

    def _licensed(self, what: str, declared: Fact) -> Iterator[Tree]:
        target: Tree = _NO_LICENSE
        if declared.is_known:
            yield self._element(
                "simplelicensing_LicenseExpression",
                f"{what} licence",
                simplelicensing_licenseExpression=declared,
            )
            target = self._id(f"{what} licence")
        yield self._relation(what, "hasDeclaredLicense", [target])
        yield self._relation(what, "hasConcludedLicense", [_NO_LICENSE])

    def _relation(self, what: str, kind: str, targets: Sequence[Tree]) -> Tree:
        if not targets:
            return None
        return self._element(
            "Relationship",
            f"{what} {kind}",
            relationshipType=kind,
            to=list(targets),
        ) | {"from": self._id(what)}


def _profile(name: str, needed: Sequence[Fact]) -> Fact:
    has_all = all(fact.is_known for fact in needed)
    rule = "claimed where all that it demands is declared"
    return derived(name if has_all else None, rule if has_all else NOT_RECORDED, *needed)


def _collection(sheet: FactSheet) -> Fact:
    return written("Answers of teachers, collected {period}", period=period(sheet.teachers))


def _category(dataset: DatasetFacts) -> Fact:
    kind = dataset.task.kind
    return derived(_CATEGORIES.get(str(kind.value)), "by the kind of task", kind)


def _presence(sheet: FactSheet) -> Fact:
    """Yes or no as declared; `noAssertion` where nothing is."""
    declared = sheet.said("data.has_personal_information")
    return declared if declared.is_known else derived("noAssertion", NOT_RECORDED, declared)


def _start_of_day(date: Fact) -> Fact:
    if not date.is_known:
        return date
    return derived(f"{date.value}T00:00:00Z", "the start of the declared day", date)


def _entry(key: Fact | str, value: Fact) -> Tree:
    if not value.is_known:
        return None
    return {"type": "DictionaryEntry", "key": key, "value": as_text(value)}


def _sha256(fact: Fact) -> Tree:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": fact}
