"""A lineage as text and as a picture."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest
from artifact_chains import edit_manifest, make_artifact, make_chain, manifest_sha256
from cli_process import run_here
from provenance_cases import make_run

from stillhouse.provenance import lineage, lineage_svg, lineage_text

SVG = "{http://www.w3.org/2000/svg}"


def test_the_tree_begins_with_the_artefact_and_tells_each_ancestor_once(tmp_path: Path) -> None:
    text = lineage_text(lineage(make_chain(tmp_path).path))
    heads = [line.split(":")[0] for line in text.splitlines() if "code" not in line]
    assert heads == [
        "child",
        "\u251c\u2500 left",
        "\u2502  \u2514\u2500 grandparent",
        "\u2514\u2500 right",
        "   \u2514\u2500 grandparent (see above)",
    ]


def test_the_tree_tells_teacher_terms_base_and_code(tmp_path: Path) -> None:
    made = make_artifact(tmp_path / "a")
    edit_manifest(
        made.path,
        {
            "teacher": {
                "id": "openai:m",
                "provider": "openai",
                "revision": "m-2026",
                "terms": {
                    "verdict": "forbid",
                    "clause": "c",
                    "date": "2026-01-01",
                    "text_sha256": None,
                },
            },
            "student": {"base": "org/base", "revision": "0123456789abcdef"},
            "code": {"version": "9.9.9", "commit": "f" * 40, "dirty": True},
        },
    )
    text = lineage_text(lineage(made.path))
    assert "teacher openai:m at m-2026, terms forbid" in text
    assert "base org/base at 0123456789ab" in text
    assert "code 9.9.9 at ffffffffffff, with local changes" in text
    assert "cost unknown" in text


def test_folders_that_are_called_alike_are_told_apart(tmp_path: Path) -> None:
    parent = make_artifact(tmp_path / "one" / "data")
    child = make_artifact(tmp_path / "two" / "data", [parent])
    heads = [line.split(":")[0] for line in lineage_text(lineage(child.path)).splitlines()]
    assert heads[0] == "data"
    assert heads[2] == "\u2514\u2500 one/data"


def test_a_tree_may_be_deeper_than_the_recursion_limit(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 10
    make_artifact(tmp_path / "0")
    fields = orjson.loads((tmp_path / "0" / "manifest.json").read_bytes())
    for number in range(1, depth):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "manifest.json").write_bytes(orjson.dumps(fields))
        before = tmp_path / str(number - 1)
        parents = [{"path": f"../{number - 1}", "sha256": manifest_sha256(before)}]
        edit_manifest(tmp_path / str(number), {"parents": parents, "files": [], "rows_root": None})
    text = lineage_text(lineage(tmp_path / str(depth - 1)))
    assert text.count("completions by collect") == depth


def test_the_picture_stands_alone_and_has_all_boxes_and_arrows(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = lineage_svg(lineage(run.dataset))
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    boxes = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "node"]
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("class") == "edge"]
    assert (len(boxes), len(arrows)) == (3, 2)  # teacher, completions, dataset
    assert "prefers-color-scheme: dark" in text
    words = {node.text for node in root.iter(f"{SVG}text")}
    assert {"completions", "dataset", "teacher"} <= words
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_names_from_outside_cannot_break_the_picture(tmp_path: Path) -> None:
    made = make_artifact(tmp_path / "a")
    base = "</text><script>alert(1)</script>&"
    edit_manifest(
        made.path,
        {
            "teacher": {"id": base, "provider": "p", "revision": None, "terms": None},
            "student": {"base": base, "revision": None},
        },
    )
    root = ElementTree.fromstring(lineage_svg(lineage(made.path)))
    assert not list(root.iter(f"{SVG}script"))
    assert any(base in (node.text or "") for node in root.iter(f"{SVG}title"))


def test_the_command_shows_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    graph = lineage(run.dataset)
    drawn = tmp_path / "lineage.svg"
    ran = run_here(capsys, "lineage", run.dataset, "--svg", drawn)
    assert (ran.code, ran.out.strip()) == (0, lineage_text(graph))
    assert drawn.read_text(encoding="utf-8") == lineage_svg(graph)
    shown = json.loads(run_here(capsys, "lineage", run.dataset, "--json").out)
    assert [one["kind"] for one in shown["artifacts"]] == ["completions", "dataset"]
    assert shown["artifacts"][1]["parents"] == [0]
    assert shown["artifacts"][0]["teacher"]["id"] == "fake:headline"
    assert shown["artifacts"][0]["terms"]["verdict"] == "allow"
    assert shown["artifacts"][1]["terms"] is None  # curating asks and learns nothing


def test_a_terminal_without_boxes_gets_plain_lines(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "stillhouse", "lineage", str(run.dataset)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"\n`- completions: completions by collect" in done.stdout


@pytest.mark.parametrize("arguments", [["--row", "0", "--svg", "x.svg"], ["--ledger", "x"]])
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    run = make_run(tmp_path)
    ran = run_here(capsys, "lineage", run.dataset, *arguments)
    assert ran.code == 2
    assert not Path("x.svg").exists()
