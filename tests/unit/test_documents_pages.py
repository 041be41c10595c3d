"""What the pages of the European Union, of California and the notice hold."""

import json
import re
from pathlib import Path

import pytest
from artifact_chains import edit_manifest
from documents_cases import ABOUT, MODEL, SECOND_MODEL, TEACHER, Case, make_case, terms_record

from stillhouse.artifacts import Artifact, Counts, begin_artifact, open_artifact
from stillhouse.documents import About, Document, gather, make_documents, read_graph
from stillhouse.settings import check_settings, parse_yaml

REPOSITORY = Path(__file__).resolve().parents[2]

# Sections of the template, as published summaries have them.
SECTIONS = [
    "1. General information",
    "1.1. Provider identification",
    "1.2. Model identification",
    "1.3. Modalities, overall training data size and other characteristics",
    "2. List of data sources",
    "2.1. Publicly available datasets",
    "2.2. Private non-publicly available datasets obtained from third parties",
    "2.2.1. Datasets commercially licensed by rightsholders or their representatives",
    "2.2.2. Private datasets obtained from other third parties",
    "2.3. Data crawled and scraped from online sources",
    "2.4. User data",
    "2.5. Synthetic data",
    "2.6. Other sources of data",
    "3. Data processing aspects",
    "3.1. Respect of reservation of rights from text and data mining exception or limitation",
    "3.2. Removal of illegal content",
    "3.3. Other information (optional)",
]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    root = tmp_path_factory.mktemp("pages")
    (root / "about.yaml").write_text(ABOUT, encoding="utf-8")
    return make_case(root / "run", terms=terms_record())


@pytest.fixture(scope="module")
def documents(case: Case) -> dict[str, Document]:
    graph = read_graph(case.student, about=case.root.parent / "about.yaml")
    return {one.id: one for one in make_documents(gather(graph))}


def test_the_summary_has_every_section_of_the_template(documents: dict[str, Document]) -> None:
    text = documents["eu_summary"].to_bytes().decode()
    headings = re.findall(r"^#{2,4} (.*)$", text, re.MULTILINE)
    assert headings == ["Summary", *SECTIONS]
    data = json.loads(documents["eu_summary_data"].to_bytes())
    assert [one["heading"] for one in data["sections"].values()] == ["Summary", *SECTIONS]


def test_the_synthetic_section_says_which_model_wrote_how_much(
    documents: dict[str, Document],
) -> None:
    data = json.loads(documents["eu_summary_data"].to_bytes())["sections"]["2.5"]
    (used, *_) = data["fields"].values()
    assert used is True
    assert data["table"]["rows"] == [
        [MODEL, TEACHER, "openai", 6, 174],
        [SECOND_MODEL, TEACHER, "openai", 3, 87],
    ]


def test_what_no_record_holds_is_null_in_the_data_and_said_on_the_page(
    documents: dict[str, Document],
) -> None:
    data = json.loads(documents["eu_summary_data"].to_bytes())["sections"]
    (measures,) = data["3.2"]["fields"].values()
    assert measures is None
    page = documents["eu_summary"].to_bytes().decode()
    assert "- **General description of measures taken**: Not recorded\n" in page


def test_the_size_is_a_band_of_the_template(documents: dict[str, Document]) -> None:
    facts = documents["eu_summary"].facts()
    size = facts["/sections/1.3/fields/Training data size"]
    assert size.value == "Less than 1 billion tokens"
    (source,) = size.sources
    assert (source.kind, source.pointer) == ("rows", "/train_bytes")


def test_the_page_for_california_has_the_twelve_points(documents: dict[str, Document]) -> None:
    text = documents["california"].to_bytes().decode()
    numbers = re.findall(r"^## (\d+)\.", text, re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 13))
    assert "- **Rows of train**: 9\n" in text
    assert "- **Used**: yes\n" in text


def test_the_notice_names_every_duty_and_its_clause(documents: dict[str, Document]) -> None:
    text = documents["notice"].to_bytes().decode()
    assert "- Show: Built with Llama\n  (clause llama-4/1.b.i of llama-4-community)\n" in text
    assert "- The name begins with: Llama\n" in text
    assert "llama-4/1.b.i, text of 2025-04-05, https://example.org/llama-4\n" in text


@pytest.mark.parametrize("name", ["model_card", "dataset_card", "eu_summary", "california"])
def test_every_page_ends_with_the_note(documents: dict[str, Document], name: str) -> None:
    assert documents[name].to_bytes().decode().endswith("\n\nA record, not legal advice.\n")


def test_documents_of_an_export_speak_of_its_student(case: Case, tmp_path: Path) -> None:
    export = write_export(tmp_path / "export", open_artifact(case.student))
    sheet = gather(read_graph(export.path))
    assert sheet.model is not None
    assert sheet.model.name.value == "student"
    documents = {one.id: one for one in make_documents(sheet)}
    bom = json.loads(documents["cyclonedx"].to_bytes())
    files = [one["name"] for one in bom["components"] if one["type"] == "file"]
    assert files == ["config.json", "model.safetensors", "gguf/model.gguf"]


def write_export(folder: Path, student: Artifact) -> Artifact:
    writer = begin_artifact(folder, kind="export", stage="export", config={}, parents=[student])
    writer.new_file("gguf/model.gguf").write_bytes(b"GGUF")
    return writer.finish(counts=Counts(num_in=1, kept=1))


def test_results_of_benchmarks_stand_in_the_card(tmp_path: Path) -> None:
    case = make_case(tmp_path, with_evaluation=False)
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 40, "num_clusters": 40}
    document = {
        "verdict": "As good.",
        "models": [{"name": "student", "role": "student"}],
        "tasks": [{"task": "arc_easy", "metric": "acc", "student": estimate}],
    }
    writer = begin_artifact(
        tmp_path / "benchmarks",
        kind="evaluation",
        stage="benchmarks",
        config={},
        parents=[open_artifact(case.student)],
    )
    writer.new_file("results.json").write_bytes(json.dumps(document).encode())
    writer.finish(counts=Counts(num_in=40, kept=40), results={"verdict": "As good."})
    card = make_documents(gather(read_graph(case.student)), only=["hf"])[0].to_bytes().decode()
    assert "| arc\\_easy, acc | 0.5 (95 % interval 0.4 to 0.6, n = 40) |" in card
    assert "\nAs good.\n" in card


def test_paths_of_the_machine_stay_out(tmp_path: Path) -> None:
    case = make_case(tmp_path, with_evaluation=False)
    config = {"base": "local:/home/ada/base", "terms": "/home/ada/t.yaml", "epochs": 3.0}
    edit_manifest(case.student, {"config": config})
    documents = make_documents(gather(read_graph(case.student)))
    assert all(b"/home/" not in document.to_bytes() for document in documents)
    assert b"epochs = 3" in documents[0].to_bytes()


def test_a_name_that_breaks_its_duty_is_said_to(documents: dict[str, Document]) -> None:
    card = documents["model_card"].to_bytes().decode()
    assert "- **The model's name begins as duty 1 on names asks**: no\n" in card


def test_the_page_on_documents_is_true(documents: dict[str, Document]) -> None:
    page = (REPOSITORY / "docs" / "documents.md").read_text(encoding="utf-8")
    (declared,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    check_settings(About, parse_yaml(declared, where="docs/documents.md"), where="documents.md")
    for document in documents.values():
        assert f"`{document.id}`" in page
        assert f"`{document.group}` |\n" in page
        assert f"`{document.file}`" in page or document.file.endswith("content.json")
