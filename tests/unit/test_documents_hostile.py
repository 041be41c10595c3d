"""Names and texts that mean harm, graphs that lack what others have, and folders in the way."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from artifact_chains import edit_manifest, listing, manifest_sha256
from documents_cases import (
    ABOUT,
    MODEL,
    TEACHER,
    Case,
    make_case,
    terms_record,
    write_completions,
    write_evaluation,
    write_student,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stillhouse.artifacts import Artifact, Counts, TeacherRef, begin_artifact, open_artifact
from stillhouse.documents import (
    TRACE,
    gather,
    make_documents,
    read_graph,
    write_documents,
)
from stillhouse.documents._visible import markdown, one_line, paragraph
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.records import Example, Message

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HARM = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/p.png)",
    "a | b\n| c | d |",
    "# Heading\n\n- item",
    "`code` *bold* _it_ ~no~",
    "&lt;b&gt;",
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A sound graph that tests only read."""
    return make_case(tmp_path_factory.mktemp("shared") / "run")


@pytest.mark.parametrize("text", HARM)
def test_markup_is_shown_and_does_nothing(text: str) -> None:
    shown = markdown(text)
    assert "\n" not in shown
    assert "<" not in shown
    assert ">" not in shown.replace("&gt;", "")
    for sign in "`*_[]#|~!":
        assert shown.count(sign) == shown.count(f"\\{sign}")


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_read_back_from_its_markdown(text: str) -> None:
    shown = paragraph(text)
    if not shown:
        assert not one_line(text)
        return
    rendered = READER.render(shown)
    body = rendered.removeprefix("<p>").removesuffix("</p>\n")
    assert "<" not in body.removeprefix("<code>").removesuffix("</code>")
    assert html.unescape(body.removeprefix("<code>").removesuffix("</code>")) == one_line(text)


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="`*_[]()<>&#|~!\\-+.1 a\n", max_size=30))
def test_any_text_is_one_cell_of_a_table(text: str) -> None:
    rendered = READER.render(f"| a | b |\n| --- | --- |\n| {markdown(text)} | end |\n")
    cells = re.findall(r"<td>(.*?)</td>", rendered, re.DOTALL)
    assert [html.unescape(cell) for cell in cells] == [one_line(text), "end"]


@pytest.mark.parametrize("start", ["1. x", "23) x", "- x", "+ x", "* x", "# x", "> x", "=== x"])
def test_no_paragraph_begins_something_else(start: str) -> None:
    assert paragraph(start)[0] not in "-+*#>"
    assert not paragraph(start).startswith(("1. ", "23) "))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("op\u0435nai:gpt-5", "op\\u0435nai:gpt-5"),  # a Cyrillic letter
        ("\u200bopenai", "\\u200bopenai"),  # no width
        ("a\u202egpj.exe", "a\\u202egpj.exe"),  # turns the direction
        ("\uff4f\uff50\uff45\uff4e", "\\uff4f\\uff50\\uff45\\uff4e"),  # full width
        ("\U0001d5ee", "\\U0001d5ee"),  # mathematical
        ("caf\u00e9", "caf\u00e9"),
        ("\u041c\u043e\u0441\u043a\u0432\u0430", "\u041c\u043e\u0441\u043a\u0432\u0430"),
        ("\u65e5\u672c", "\u65e5\u672c"),
    ],
)
def test_letters_that_look_like_others_are_shown_as_numbers(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_hostile_names_break_no_document(tmp_path: Path) -> None:
    teacher = TeacherRef(
        id='evil: "x"\n---\nlicense: mit <img src=x>', provider="a|b", revision="`rm`\u202e"
    )
    case = make_case(tmp_path / "run", teacher=teacher, base="base\n- injected: true")
    write_documents(case.student, tmp_path / "out")
    for name in ("model/README.md", "dataset/README.md"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        matter, body = text.removeprefix("---\n").split("\n---\n", 1)
        assert "license" not in yaml.safe_load(matter)
        assert "injected" not in yaml.safe_load(matter)
        assert "<img" not in body
        assert "\u202e" not in body
        columns = [line.count("|") - line.count("\\|") for line in body.splitlines()]
        starts = [line for line in body.splitlines() if line.startswith("| evil")]
        assert len({columns[body.splitlines().index(line)] for line in starts}) == 1
    bom = json.loads((tmp_path / "out" / "bom.cdx.json").read_bytes())
    assert bom["metadata"]["component"]["pedigree"]["ancestors"][1]["name"] == teacher.id
    assert (tmp_path / "out" / "NOTICE").read_text().count("\n") < 20


def test_braces_in_names_are_no_templates(tmp_path: Path) -> None:
    teacher = TeacherRef(id="{0.__class__}", provider="fake", revision=None)
    case = make_case(tmp_path / "run", teacher=teacher)
    text = make_documents(gather(read_graph(case.student)), only=["eu"])[0].to_bytes().decode()
    assert "asked as {0.\\_\\_class\\_\\_}" in text


def test_a_lineage_without_terms_says_so(shared: Case) -> None:
    documents = make_documents(gather(read_graph(shared.student)))
    card = next(one for one in documents if one.id == "model_card").to_bytes().decode()
    assert "## Terms\n\n- **Verdict**: Not recorded\n" in card
    notice = next(one for one in documents if one.id == "notice").to_bytes().decode()
    assert "Terms of teachers, data and base models: not recorded." in notice
    assert notice.endswith("A record, not legal advice.\n")


def test_a_record_of_terms_that_is_none_is_refused(tmp_path: Path) -> None:
    case = make_case(tmp_path, terms=terms_record())
    bad = {**terms_record(), "verdict": "surely"}
    results = json.loads((case.student / "manifest.json").read_bytes())["results"]
    graph_folder = write_student_again(case, {**results, "terms": bad})
    with pytest.raises(IntegrityError, match=r"terms in the manifest of .*verdict"):
        gather(read_graph(graph_folder))


def write_student_again(case: Case, results: dict[str, Any]) -> Path:
    edit_manifest(case.student, {"results": results})
    (case.evaluation / "manifest.json").rename(case.evaluation / "old.json")
    return case.student


def test_mixed_licences_all_stand_there(tmp_path: Path) -> None:
    findings = terms_record()["findings"]
    share = {
        **findings[0],
        "source": "cc-by-sa-4.0",
        "origin": "dataset wiki",
        "role": "dataset",
        "duties": [],
    }
    duty = {"kind": "share_alike", "value": "CC-BY-SA-4.0", "clause": "3", "sources": ["x"]}
    terms = terms_record(
        findings=[*findings, share],
        duties=[*terms_record()["duties"], duty],
        conflicts=[{"duties": [duty], "verdict": "unknown", "reason": "Cannot be told."}],
    )
    case = make_case(tmp_path, terms=terms)
    card = make_documents(gather(read_graph(case.student)), only=["hf"])[0].to_bytes().decode()
    assert "| dataset wiki | cc-by-sa-4.0 | 9 |" in card
    assert "- **Conflict 1**: Cannot be told.\n" in card
    assert "| Share under the same licence | CC-BY-SA-4.0 | 3 | x |" in card


def test_a_changed_byte_stops_all_of_it(tmp_path: Path) -> None:
    case = make_case(tmp_path / "run")
    (case.dataset / "examples-00000.parquet").write_bytes(
        (case.dataset / "examples-00000.parquet").read_bytes()[:-1] + b"x"
    )
    before = listing(tmp_path)
    with pytest.raises(IntegrityError, match="has changed"):
        write_documents(case.student, tmp_path / "out")
    assert listing(tmp_path) == before


def test_a_damaged_evaluation_stops_it_too(tmp_path: Path) -> None:
    case = make_case(tmp_path / "run")
    (case.evaluation / "results.json").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=r"results\.json is truncated"):
        write_documents(case.student, tmp_path / "out")


def test_a_folder_in_the_way_is_left_alone(shared: Case, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("keep")
    with pytest.raises(ConfigError, match="is not empty"):
        write_documents(shared.student, out)
    assert [entry.name for entry in out.iterdir()] == ["mine"]
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        write_documents(shared.student, link)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "out"]


def test_a_folder_in_an_artefact_is_refused(shared: Case) -> None:
    before = listing(shared.root)
    with pytest.raises(ConfigError, match="lies in the artefact"):
        write_documents(shared.student, shared.student / "a" / "documents")
    assert listing(shared.root) == before


def test_an_empty_folder_is_used(shared: Case, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    written = write_documents(shared.student, tmp_path / "out")
    assert {one.file for one in written} | {TRACE} == {
        entry.relative_to(tmp_path / "out").as_posix()
        for entry in (tmp_path / "out").rglob("*")
        if entry.is_file()
    }


@pytest.mark.parametrize("kind", ["completions", "evaluation"])
def test_other_kinds_are_refused(shared: Case, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"is a {kind} artefact; documents describe student"):
        read_graph(getattr(shared, kind))


def test_an_evaluation_of_another_student_is_refused(shared: Case, tmp_path: Path) -> None:
    other = write_student(tmp_path / "other", open_artifact(shared.dataset), base="another")
    with pytest.raises(ConfigError, match="evaluates other models than"):
        read_graph(other.path, evaluations=[shared.evaluation])


def test_an_evaluation_that_lies_elsewhere_can_be_given(tmp_path: Path) -> None:
    case = make_case(tmp_path / "run", with_evaluation=False)
    assert gather(read_graph(case.student)).evaluations == ()
    far = tmp_path / "a" / "b" / "evaluation"
    write_evaluation(far, open_artifact(case.dataset), open_artifact(case.student))
    (found,) = gather(read_graph(case.student, evaluations=[far])).evaluations
    assert [metric.value.value for metric in found.metrics] == [0.42, 0.81]


def test_of_several_students_each_gets_its_own_figures(tmp_path: Path) -> None:
    case = make_case(tmp_path, with_evaluation=False)
    other = write_student(tmp_path / "students" / "plain", open_artifact(case.dataset), base="b")
    write_evaluation(
        case.evaluation, open_artifact(case.dataset), other, open_artifact(case.student)
    )
    for folder, index in ((case.student, 2), (other.path, 1)):
        (found,) = gather(read_graph(folder)).evaluations
        (source,) = found.metrics[0].value.sources
        assert source.pointer == f"/models/{index}/forward_kl_nats/value"


def test_what_is_no_artefact_beside_the_student_is_passed_over(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "manifest.json").write_bytes(b"\xff not JSON")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(gather(read_graph(case.student)).evaluations) == 1


def test_a_dataset_of_an_unknown_origin_is_described(tmp_path: Path) -> None:
    """No completions in the lineage: who wrote the rows is what the manifest says, or nobody."""
    dataset = write_plain_dataset(tmp_path / "dataset", groups=3)
    documents = make_documents(gather(read_graph(dataset.path)))
    assert [one.id for one in documents] == ["dataset_card", "spdx", "croissant", "notice"]
    for document in documents:
        assert all(fact.sources for fact in document.facts().values())
    card = documents[0].to_bytes().decode()
    assert "No teacher is recorded." in card
    assert "**Rows without a logged call**: 3" in card


def test_ten_thousand_groups_are_counted_and_not_listed(tmp_path: Path) -> None:
    dataset = write_plain_dataset(tmp_path / "dataset", groups=10_000)
    documents = make_documents(gather(read_graph(dataset.path)))
    card = documents[0].to_bytes().decode()
    assert "**Groups**: 10,000" in card
    assert "size_categories:\n- 10K<n<100K" in card
    assert all(len(document.to_bytes()) < 100_000 for document in documents)


def write_plain_dataset(folder: Path, *, groups: int) -> Artifact:
    writer = begin_artifact(folder, kind="dataset", stage="curate", config={})
    rows = (
        Example(
            id=f"e{number}",
            prompt_id=f"p{number}",
            request_id=f"r{number}",
            messages=(Message(role="user", content="?"),),
            completion="!",
            group=f"group {number}",
        )
        for number in range(groups)
    )
    writer.write_rows("examples", rows, Example)
    return writer.finish(counts=Counts(num_in=groups, kept=groups))


def test_a_call_that_two_collections_hold_is_counted_once(tmp_path: Path) -> None:
    teacher = TeacherRef(id=TEACHER, provider="openai", revision=None)
    case = make_case(tmp_path, teacher=teacher, with_evaluation=False)
    twin = write_completions(tmp_path / "twin", teacher, num_prompts=20)
    parents = [
        {"path": "../completions", "sha256": manifest_sha256(case.completions)},
        {"path": "../twin", "sha256": manifest_sha256(twin.path)},
    ]
    edit_manifest(case.dataset, {"parents": parents})
    sheet = gather(read_graph(case.dataset))
    assert [found.rows.value for found in sheet.teachers] == [8, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("licence: MIT", "licence is not a setting. Did you mean license"),
        ("license: 'MIT; rm -rf'", "license is 'MIT; rm -rf'"),
        ("homepage: javascript:alert(1)", "homepage is 'javascript:alert"),
        ("released: 2026-05-01", "put it in quotes"),
        ("languages: [english]", "no ISO 639 code"),
        ("data: {crawled: true}", "data.crawled"),
        ("- a", "must hold 'name: value'"),
    ],
)
def test_what_the_user_declares_is_checked(
    shared: Case, tmp_path: Path, text: str, said: str
) -> None:
    about = tmp_path / "about.yaml"
    about.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_graph(shared.student, about=about)
    assert said in str(caught.value)


def test_declared_fields_are_marked_with_their_file(shared: Case, tmp_path: Path) -> None:
    about = tmp_path / "about.yaml"
    about.write_text(ABOUT)
    documents = make_documents(gather(read_graph(shared.student, about=about)), only=["hf"])
    card = documents[0].to_bytes().decode()
    assert "- **Licence**: Apache-2.0 (declared)\n" in card
    assert "- **Layers**: 12\n" in card
    assert "Fields marked (declared) are what the user states in about.yaml, SHA-256 `" in card


def test_an_origin_of_unknown_terms_stands_in_the_card(tmp_path: Path) -> None:
    unknown = {
        **terms_record()["findings"][0],
        "source": "",
        "origin": "teacher somebody",
        "verdict": "unknown",
        "clauses": [],
        "duties": [],
        "reason": "Nobody knows whose terms hold.",
    }
    terms = terms_record(findings=[unknown], verdict="unknown", duties=[])
    case = make_case(tmp_path, terms=terms, with_evaluation=False)
    card = make_documents(gather(read_graph(case.student)), only=["hf"])[0].to_bytes().decode()
    row = "| teacher somebody | Not recorded | 9 | unknown | Nobody knows whose terms hold. |"
    assert row in card
    assert "The record names no duties." in card


def test_tokens_that_nobody_counted_are_not_told_as_none(tmp_path: Path) -> None:
    case = make_case(tmp_path, with_evaluation=False)
    figures = read_graph(case.student)
    for node in figures.nodes:
        for view in node.rows.values():
            for model in view.data["models"]:
                model["train_tokens"] = 0
    page = make_documents(gather(figures), only=["eu"])[0].to_bytes().decode()
    assert "tokens as the teachers count" not in page
    assert f"{MODEL} (asked as {TEACHER}): 6 training rows;" in page
