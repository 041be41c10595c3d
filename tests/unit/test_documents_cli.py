"""The command `documents`."""

import hashlib
import json
from pathlib import Path

import pytest
from cli_process import run_here
from documents_cases import ABOUT, Case, make_case, terms_record
from jsonschema import Draft202012Validator

from stillhouse.settings import parse_yaml


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    root = tmp_path_factory.mktemp("cli")
    (root / "about.yaml").write_text(ABOUT, encoding="utf-8")
    return make_case(root / "run", terms=terms_record())


@pytest.fixture
def about(case: Case) -> str:
    return str(case.root.parent / "about.yaml")


def test_it_writes_all_documents_and_says_which(
    capsys: pytest.CaptureFixture[str], case: Case, about: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = run_here(
        capsys, "documents", str(case.student), "--out", str(out), "--about", about, "--json"
    )
    assert ran.code == 0
    document = json.loads(ran.out)
    assert document["folder"] == str(out)
    for one in document["documents"]:
        assert hashlib.sha256((out / one["file"]).read_bytes()).hexdigest() == one["sha256"]
    trace = json.loads((out / "trace.json").read_bytes())
    assert {one["id"] for one in document["documents"]} == set(trace["documents"])
    field = trace["documents"]["model_card"]["fields"]["/front_matter/license"]
    assert trace["sources"][field["sources"][0]]["pointer"] == "/license"


def test_it_writes_the_same_bytes_again(
    capsys: pytest.CaptureFixture[str], case: Case, about: str, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        run_here(
            capsys,
            *("documents", str(case.student), "--out", str(tmp_path / name), "--about", about),
        )
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) == 9
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_only_what_is_asked_for_is_written(
    capsys: pytest.CaptureFixture[str], case: Case, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = run_here(
        capsys, "documents", str(case.student), "--out", str(out), "--only", "notice, spdx"
    )
    assert ran.code == 0
    assert sorted(path.name for path in out.iterdir()) == ["NOTICE", "spdx.jsonld", "trace.json"]


def test_a_field_is_explained_with_the_way_to_its_record(
    capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    field = "cyclonedx:/components/0/hashes/0/content"
    ran = run_here(capsys, "documents", str(case.student), "--explain", field, "--quiet", "--json")
    assert (ran.code, ran.err) == (0, "")
    (found,) = json.loads(ran.out)["fields"]
    digest = hashlib.sha256((case.dataset / "manifest.json").read_bytes()).hexdigest()
    assert found["field"] == field
    assert found["fact"]["value"] == digest
    (source,) = found["fact"]["sources"]
    assert (source["record"], source["sha256"]) == ("dataset", digest)
    assert found["chain"] == [["students/student", "dataset"]]


def test_people_read_an_explanation_too(
    capsys: pytest.CaptureFixture[str], case: Case, about: str
) -> None:
    ran = run_here(
        capsys,
        *("documents", str(case.student), "--about", about, "--explain", "model_card:/license"),
    )
    assert ran.out.startswith("model_card:/front_matter/license = apache-2.0\n")
    assert "from about.yaml /license, SHA-256 " in ran.out


def test_fields_of_one_name_are_all_explained(
    capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    ran = run_here(capsys, "documents", str(case.student), "--explain", "cyclonedx:specversion")
    assert ran.out.startswith("cyclonedx:/specVersion = 1.7\n  fixed text of the document\n")
    ran = run_here(
        capsys, "documents", str(case.student), "--json", "--explain", "model_card:Verdict"
    )
    (found,) = json.loads(ran.out)["fields"]
    assert found["fact"]["value"] == "allow_with_duties"


def test_a_field_that_no_record_fills_says_where_it_was_looked_for(
    capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    ran = run_here(
        capsys,
        *("documents", str(case.student), "--explain", "spdx:/@graph/3/dataset_intendedUse"),
    )
    assert ran.out.startswith("spdx:/@graph/3/dataset_intendedUse = not recorded\n")
    assert "from --about /data/purpose" in ran.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "takes --out FOLDER, or --explain FIELD"),
        (["--out", "o", "--explain", "notice:/name"], "Give one of the two"),
        (["--explain", "novel:/x"], "documents are model_card, dataset_card, cyclonedx"),
        (["--explain", "notice"], "give DOCUMENT:/POINTER"),
        (["--explain", "notice:/nam"], "Near it are /name"),
        (["--out", "o", "--only", "hf,sbom"], "'sbom' is no document; there are hf, cyclonedx"),
        (["--out", "o", "--about", "missing.yaml"], "missing.yaml cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(
    capsys: pytest.CaptureFixture[str], case: Case, given: list[str], said: str
) -> None:
    ran = run_here(capsys, "documents", str(case.student), *given)
    assert ran.code == 2
    assert said in ran.err
    assert not Path("o").exists()


def test_the_schema_takes_a_good_file_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_here(capsys, "documents", "--schema")
    assert ran.code == 0
    schema = json.loads(ran.out)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(parse_yaml(ABOUT, where="about"))
    assert not validator.is_valid({"licence": "MIT"})
    assert schema["properties"]["intended_use"]["description"] == "What the model is for."
