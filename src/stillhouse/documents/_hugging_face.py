"""Model card and dataset card in the form of the Hugging Face Hub: YAML front matter, Markdown.

Keys of the front matter are those of the Hub's own readers (`huggingface_hub.ModelCardData` and
`DatasetCardData`, 2.4). A teacher is no base model: it has a section and a tag of its own.
"""

import re
from collections.abc import Iterator

from stillhouse.documents._document import Document
from stillhouse.documents._facts import Fact, derived, written
from stillhouse.documents._identity import slug
from stillhouse.documents._pages import page, section
from stillhouse.documents._phrases import (
    curation_line,
    dropped_line,
    interval,
    named_values,
    period,
    with_interval,
)
from stillhouse.documents._sheet import (
    DatasetFacts,
    EvaluationFacts,
    FactSheet,
    ModelFacts,
)
from stillhouse.documents._terms_section import terms_sections
from stillhouse.documents._trees import Tree

_STANDARD = "Hugging Face Hub cards, as read by huggingface_hub 2.4"
_TIMES = "Times of imported answers are those of the import; of its file, where it tells none."
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
# SPDX ids that the Hub knows under the same name in small letters; others are `other` by name.
_HUB_LICENSES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "zlib"),
    *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0"),
    *("cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    *("cdla-permissive-2.0", "epl-2.0", "eupl-1.2"),
)
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)


def model_card(sheet: FactSheet, model: ModelFacts) -> Document:
    """The card of the student."""
    return page(
        "model_card",
        group="hf",
        file="model/README.md",
        standard=_STANDARD,
        title=model.name,
        front_matter=_model_matter(sheet, model),
        sections={
            "model": _model_section(sheet, model),
            "teacher": _teacher_section(sheet),
            "intended_use": section(
                "Intended use",
                fields={
                    "Intended use": sheet.said("intended_use"),
                    "Users": sheet.said("users"),
                    "Out of scope": sheet.said("out_of_scope"),
                    "Limitations": sheet.said("limitations"),
                },
            ),
            "training": _training_section(sheet, model),
            "evaluation": _evaluation_section(sheet, model),
            **terms_sections(sheet),
            "provenance": provenance_section(sheet),
            "provider": _provider_section(sheet),
        },
    )


def dataset_card(sheet: FactSheet, dataset: DatasetFacts) -> Document:
    """The card of the rows that the student learnt from."""
    return page(
        "dataset_card",
        group="hf",
        file="dataset/README.md",
        standard=_STANDARD,
        title=dataset.name,
        front_matter=_dataset_matter(sheet, dataset),
        sections={
            "dataset": section(
                "Dataset",
                fields={
                    "Rows": dataset.rows,
                    **{f"Rows of {name}": number for name, number in dataset.splits.items()},
                    "Prompts": dataset.prompts,
                    "Groups": dataset.groups,
                    "Task": dataset.task.name,
                    "Kind of task": dataset.task.kind,
                    "Licence": sheet.said("dataset_license"),
                    "Rows without a logged call": dataset.untraced,
                },
            ),
            "teacher": _teacher_section(sheet),
            "sources": _sources_section(sheet),
            "curation": section(
                "Curation",
                fields={
                    "Settings": curation_line(dataset),
                    "Rows": dropped_line(sheet.artifact(dataset.artifact)),
                    **{
                        f"Contamination: {name}": fact
                        for name, fact in dataset.contamination.items()
                    },
                },
            ),
            "personal_information": section(
                "Personal information",
                fields={
                    "Personal information": sheet.said("data.personal_information"),
                    "Known biases": sheet.said("data.biases"),
                },
            ),
            **terms_sections(sheet),
            "provenance": provenance_section(sheet),
            "provider": _provider_section(sheet),
        },
    )


def _model_matter(sheet: FactSheet, model: ModelFacts) -> dict[str, Tree]:
    is_model = model.what.value == "language model"
    task = "text-generation" if is_model else "text-classification"
    return {
        "language": list(sheet.about.languages),
        **_license(sheet.said("license")),
        "library_name": derived("transformers", "what opens a student", model.what)
        if is_model
        else None,
        "pipeline_tag": derived(task, "by what the student is", model.what),
        "base_model": _repository(model.base),
        "base_model_relation": derived("finetune", "trained from its base", model.base)
        if _repository(model.base).is_known
        else None,
        "datasets": [slug(sheet.dataset.name)] if sheet.dataset else None,
        "tags": ["distillation", "stillhouse"],
        "model-index": _model_index(sheet, model, task),
    }


def _model_index(sheet: FactSheet, model: ModelFacts, task: str) -> Tree:
    """Results by evaluation; None where nothing was measured, since the Hub wants some then."""
    results: list[Tree] = [
        {
            "task": {"type": derived(task, "by what the student is", model.what)},
            "dataset": {
                "name": _dataset_name(sheet, evaluation),
                "type": slug(_dataset_name(sheet, evaluation)),
                "split": "held_out",
                "revision": _dataset_root(sheet, evaluation),
            },
            "metrics": [
                {
                    "type": metric.name,
                    "name": written("95 % interval {text}", text=interval(metric)),
                    "value": metric.value,
                }
                for metric in evaluation.metrics
            ],
        }
        for evaluation in sheet.evaluations
        if evaluation.metrics
    ]
    return [{"name": model.name, "results": results}] if results else None


def _dataset_name(sheet: FactSheet, evaluation: EvaluationFacts) -> Fact:
    if evaluation.dataset is None:
        return evaluation.title
    if sheet.dataset is not None and evaluation.dataset == sheet.dataset.artifact:
        return sheet.dataset.name
    return sheet.artifact(evaluation.dataset).path


def _dataset_root(sheet: FactSheet, evaluation: EvaluationFacts) -> Tree:
    return sheet.artifact(evaluation.dataset).rows_root if evaluation.dataset else None


def _dataset_matter(sheet: FactSheet, dataset: DatasetFacts) -> dict[str, Tree]:
    rows = dataset.rows.value
    size = next((name for bound, name in _SIZES if isinstance(rows, int) and rows < bound), None)
    is_labels = dataset.task.kind.value == "classification"
    task = "text-classification" if is_labels else "text-generation"
    by_machine: Tree = None
    if sheet.teachers:
        by_machine = [derived("machine-generated", "a teacher wrote the rows", *_ids(sheet))]
    return {
        "pretty_name": dataset.name,
        "language": list(sheet.about.languages),
        **_license(sheet.said("dataset_license")),
        "annotations_creators": by_machine,
        "size_categories": [derived(size, "by the number of rows", dataset.rows)],
        "task_categories": [derived(task, "by the kind of task", dataset.task.kind)],
        "tags": ["distillation", "stillhouse", "synthetic"],
        "configs": [{"config_name": "default", "data_files": "examples-*.parquet"}],
    }


def _ids(sheet: FactSheet) -> list[Fact]:
    return [teacher.id for teacher in sheet.teachers]


def _license(declared: Fact) -> dict[str, Tree]:
    """The Hub's word for a licence; `other` with its name where the Hub has none."""
    if not isinstance(declared.value, str):
        return {"license": declared}
    known = declared.value.lower()
    if known in _HUB_LICENSES:
        return {"license": derived(known, "the licence in the Hub's spelling", declared)}
    other = derived("other", "a licence that the Hub does not list", declared)
    return {"license": other, "license_name": declared}


def _repository(base: Fact) -> Fact:
    """The base model, where its name is one of the Hub (`owner/name`)."""
    is_one = isinstance(base.value, str) and _REPOSITORY.fullmatch(base.value) is not None
    return base if is_one else derived(None, "no name of the Hub (owner/name)", base)


def _model_section(sheet: FactSheet, model: ModelFacts) -> Tree:
    return section(
        "Model",
        fields={
            "Version": model.version,
            "Kind": model.what,
            "Base model": model.base,
            "Revision of the base model": model.base_revision,
            "Parameters": model.parameters,
            "Layers": model.layers,
            "Licence": sheet.said("license"),
            "Released": sheet.said("released"),
            "Web page": sheet.said("homepage"),
        },
    )


def _teacher_section(sheet: FactSheet) -> Tree:
    rows = [
        [
            teacher.id,
            teacher.model,
            teacher.provider,
            teacher.revision,
            teacher.train_rows,
            teacher.train_tokens,
            teacher.first_utc,
            teacher.last_utc,
        ]
        for teacher in sheet.teachers
    ]
    intro = "Other models wrote the answers that the rows hold: teachers, which are no base models."
    columns = ["Asked", "Answered", "Provider", "Revision", "Training rows", "Tokens"]
    imports = [one.format for one in sheet.imports]
    imports += [one.provider for one in sheet.teachers if one.provider.value == "import"]
    return section(
        "Teachers (distillation)",
        intro if rows else "No teacher is recorded.",
        *([derived(_TIMES, "where answers were imported", *imports)] if imports else []),
        columns=[*columns, "First answer", "Last answer"],
        rows=rows,
    )


def _training_section(sheet: FactSheet, model: ModelFacts) -> Tree:
    artifact = sheet.artifact(model.artifact)
    dataset = sheet.dataset
    data = {"Dataset": dataset.name, "Rows": dataset.rows} if dataset else {}
    splits = {f"Rows of {name}": fact for name, fact in dataset.splits.items()} if dataset else {}
    return section(
        "Training",
        fields={
            **data,
            **splits,
            "Rows learnt from": artifact.kept,
            "Objective": model.objective,
            "Steps": model.steps,
            "Tokens trained on": model.trained_tokens,
            "Loss at the end, nats": model.final_loss_nats,
            "Seconds": artifact.seconds,
            "Device": artifact.device,
            "torch": artifact.torch,
            "Settings": named_values(model.settings),
            "Seeds": named_values(model.seeds),
        },
    )


def _evaluation_section(sheet: FactSheet, model: ModelFacts) -> Tree:
    rows: list[list[Fact | str]] = [
        [
            _dataset_name(sheet, evaluation),
            metric.label,
            with_interval(metric),
            evaluation.created_utc,
        ]
        for evaluation in sheet.evaluations
        for metric in evaluation.metrics
    ]
    verdicts = [one.verdict for one in sheet.evaluations if one.verdict.is_known]
    return section(
        "Evaluation",
        *verdicts,
        *([] if verdicts else ["No evaluation is recorded."]),
        fields={
            "Agreement on rows that the training set aside": model.validation,
            "Certificate": model.certificate,
        },
        columns=["Held-out rows of", "Metric", "Value", "Measured"],
        rows=rows,
    )


def _sources_section(sheet: FactSheet) -> Tree:
    imports = {f"Imported from {one.artifact}": one.source for one in sheet.imports}
    scrubbed = {
        f"Taken out of the texts: {kind}": number
        for one in sheet.imports
        for kind, number in one.scrubbed.items()
    }
    return section(
        "Sources",
        fields={
            "Owners": sheet.said("data.owners"),
            "Answers collected": period(sheet.teachers),
            **imports,
            **scrubbed,
        },
    )


def provenance_section(sheet: FactSheet) -> Tree:
    """The graph, one artefact a row."""
    rows: list[list[Fact | str]] = [
        [
            artifact.path,
            artifact.kind,
            artifact.created_utc,
            artifact.version,
            artifact.made_from,
            artifact.manifest_sha256,
        ]
        for artifact in sheet.artifacts
    ]
    return section(
        "Provenance",
        "Every byte of these artefacts was checked against their hashes when this page was "
        "written. To check again: stillhouse verify.",
        columns=["Artefact", "Kind", "Made", "stillhouse", "Made from", "SHA-256 of the manifest"],
        rows=rows,
    )


def _provider_section(sheet: FactSheet) -> Tree:
    return section(
        "Provider",
        fields={
            "Name": sheet.said("provider.name"),
            "Contact": sheet.said("provider.contact"),
            "Citation": sheet.said("citation"),
        },
    )


def documents(sheet: FactSheet) -> Iterator[Document]:
    """The cards that the sheet has facts for."""
    if sheet.model is not None:
        yield model_card(sheet, sheet.model)
    if sheet.dataset is not None:
        yield dataset_card(sheet, sheet.dataset)
