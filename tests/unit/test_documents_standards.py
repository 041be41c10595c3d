"""The documents are what their standards' own readers and schemas accept."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from documents_cases import ABOUT, NUM_PROMPTS, TEACHER, Case, make_case, terms_record
from huggingface_hub import DatasetCard, ModelCard
from spdx_python_model import v3_0_1 as spdx

from stillhouse.artifacts import TeacherRef
from stillhouse.documents import write_documents

# mlcroissant, and rdflib that it reads with, use what their next versions will not have.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlcroissant"),
]

TASK = {"name": "bank", "kind": "classification", "labels": ["card", "loan"]}
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {"terms": terms_record()},
    "no evaluation": {"with_evaluation": False},
    "classifier": {"task": TASK, "with_evaluation": False},
    "unknown teacher": {"teacher": TeacherRef(id="import:jsonl", provider="import", revision=None)},
    "base of the Hub": {"base": "HuggingFaceTB/SmolLM2-135M-Instruct"},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every variant with and without what the user declares."""
    root = tmp_path_factory.mktemp("variants")
    about = root / "about.yaml"
    about.write_text(ABOUT, encoding="utf-8")
    found = {}
    for number, (name, changes) in enumerate(VARIANTS.items()):
        case = make_case(root / str(number), **changes)
        for what, given in (("", None), (" and about", about)):
            out = root / f"documents {number}{what}"
            write_documents(case.student, out, about=given)
            found[name + what] = out
    return found


ALL = [name + what for name in VARIANTS for what in ("", " and about")]


@pytest.mark.parametrize("name", ALL)
def test_the_bill_of_materials_is_valid(folders: dict[str, Path], name: str) -> None:
    text = (folders[name] / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None


def test_the_oracle_of_bills_refuses_what_is_wrong(folders: dict[str, Path]) -> None:
    bom = json.loads((folders["full"] / "bom.cdx.json").read_text())
    bom["metadata"]["component"]["type"] = "model"
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(bom)) is not None


@pytest.mark.parametrize("name", ALL)
def test_the_spdx_document_is_read_and_every_reference_is_there(
    folders: dict[str, Path], name: str
) -> None:
    objects = read_spdx((folders[name] / "spdx.jsonld").read_bytes())
    assert not objects.missing_ids
    (document,) = objects.foreach_type(spdx.SpdxDocument)
    (root,) = document.rootElement
    assert isinstance(root, spdx.ai_AIPackage)
    # Writing checks the counts that the model demands of every property.
    spdx.JSONLDSerializer().write(objects, io.BytesIO())


def test_the_oracle_of_spdx_refuses_what_is_wrong(folders: dict[str, Path]) -> None:
    graph = json.loads((folders["full"] / "spdx.jsonld").read_text())
    package = next(one for one in graph["@graph"] if one["type"] == "dataset_DatasetPackage")
    package["dataset_datasetType"] = ["novels"]
    with pytest.raises(ValueError, match="novels"):
        read_spdx(json.dumps(graph).encode())


def test_profiles_are_claimed_only_with_all_that_they_demand(folders: dict[str, Path]) -> None:
    def profiles(name: str) -> set[str]:
        objects = read_spdx((folders[name] / "spdx.jsonld").read_bytes())
        (document,) = objects.foreach_type(spdx.SpdxDocument)
        return {profile.rsplit("/", 1)[1] for profile in document.profileConformance}

    assert {"ai", "dataset"} <= profiles("full and about")
    assert not {"ai", "dataset"} & profiles("full")


def test_relations_say_what_the_student_came_from(folders: dict[str, Path]) -> None:
    objects = read_spdx((folders["full and about"] / "spdx.jsonld").read_bytes())
    found = {
        (one.from_.name, one.relationshipType.rsplit("/", 1)[1], getattr(to, "name", None))
        for one in objects.foreach_type(spdx.Relationship)
        for to in one.to
    }
    assert ("Headliner", "trainedOn", "Headlines") in found
    assert ("Headliner", "descendantOf", "SmolLM2-135M-Instruct") in found
    assert (TEACHER, "generates", "Headlines") in found
    assert ("Headliner", "contains", "model.safetensors") in found


@pytest.mark.parametrize("name", ALL)
def test_croissant_reads_the_rows_of_the_dataset(
    folders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    number = ALL.index(name) // 2
    dataset = Case(folders[name].parent / str(number)).dataset
    together = tmp_path / "together"
    shutil.copytree(dataset, together)
    shutil.copy(folders[name] / "dataset" / "croissant.json", together)
    read = mlcroissant.Dataset(jsonld=together / "croissant.json")
    assert not read.metadata.ctx.issues.errors
    assert read.metadata.ctx.is_v1_1()
    rows = list(read.records("examples"))
    assert len(rows) == NUM_PROMPTS
    assert rows[1]["examples/completion"] == b"Town Opens Bridge 1"
    (turn,) = rows[1]["examples/messages"]
    assert turn["examples/messages/content"] == b"Headline for text 1?"
    splits = [row["splits/name"] for row in read.records("splits")]
    assert splits == ["held_out", "train"]
    assert read.metadata.data_collection_timeframe is not None


def test_croissant_says_which_runs_wrote_the_answers(folders: dict[str, Path]) -> None:
    document = json.loads((folders["full"] / "dataset" / "croissant.json").read_text())
    first, second = document["prov:wasGeneratedBy"]
    assert first["@type"] == "prov:Activity"
    assert first["prov:wasAssociatedWith"]["prov:label"] == "gpt-5-mini-2025-08-07"
    assert second["prov:startedAtTime"] == "2026-03-01T08:30:00Z"
    assert document["usageInfo"] == ["name_prefix: Llama", "notice: Built with Llama"]


@pytest.mark.parametrize("name", ALL)
def test_the_cards_are_read_by_the_hub(folders: dict[str, Path], name: str) -> None:
    text = (folders[name] / "model" / "README.md").read_text()
    card = ModelCard(text, ignore_metadata_errors=False)
    assert "distillation" in card.data.tags
    # The Hub parses the index into results and back; what it wrote again is what it read.
    again = yaml.safe_load(str(card.data))
    assert again == yaml.safe_load(text.split("---")[1])
    dataset = DatasetCard(
        (folders[name] / "dataset" / "README.md").read_text(), ignore_metadata_errors=False
    )
    assert dataset.data.annotations_creators == ["machine-generated"]


def test_the_model_card_holds_results_with_intervals(folders: dict[str, Path]) -> None:
    text = (folders["full and about"] / "model" / "README.md").read_text()
    card = ModelCard(text, ignore_metadata_errors=False)
    (first, second) = card.data.eval_results
    assert (first.metric_type, first.metric_value) == ("forward_kl_nats", 0.42)
    assert first.metric_name == "95 % interval 0.38 to 0.47, n = 27"
    assert (second.dataset_name, second.dataset_split) == ("Headlines", "held_out")
    assert card.data.license == "apache-2.0"
    assert card.data.language == ["en"]


def test_a_teacher_is_no_base_model(folders: dict[str, Path]) -> None:
    plain = ModelCard((folders["full"] / "model" / "README.md").read_text())
    assert plain.data.base_model is None  # "SmolLM2-135M-Instruct" is no repository
    known = ModelCard((folders["base of the Hub"] / "model" / "README.md").read_text())
    assert known.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert TEACHER not in str(known.data)
    assert "## Teachers (distillation)" in known.text


def test_a_bill_names_teachers_and_base_as_ancestors(folders: dict[str, Path]) -> None:
    bom = json.loads((folders["full"] / "bom.cdx.json").read_text())
    ancestors = bom["metadata"]["component"]["pedigree"]["ancestors"]
    relations = [(one["name"], one["properties"][0]["value"]) for one in ancestors]
    assert relations == [
        ("SmolLM2-135M-Instruct", "base model"),
        (TEACHER, "teacher"),
        (TEACHER, "teacher"),
    ]


def read_spdx(raw: bytes) -> Any:
    objects = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(raw), objects)
    return objects
