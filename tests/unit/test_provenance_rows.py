"""From a row of any artefact back to the call: each link there is, and what is said without it."""

import json
from pathlib import Path

import pytest
from artifact_chains import edit_manifest, listing, make_artifact
from cli_process import run_here
from provenance_cases import KEEP, SAMPLING, collected, make_fitted, make_run, prompts
from task_cases import free_text

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.collect import CollectConfig, ImportConfig, collect, import_completions
from stillhouse.curate import curate
from stillhouse.errors import ConfigError, IntegrityError, StillhouseError
from stillhouse.fit._validation import ValidationRow
from stillhouse.pipeline._round_join import JoinConfig, join
from stillhouse.provenance import row_history
from stillhouse.records import Completion, Example


def completions_of(artifact: Artifact) -> list[Completion]:
    return list(artifact.rows("completions", Completion))


def test_an_example_goes_back_to_its_call(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    dataset = open_artifact(run.dataset)
    example = list(dataset.rows("examples", Example))[4]
    history = row_history(run.dataset, 4)
    (call,) = history.calls
    (made,) = [
        row
        for row in completions_of(open_artifact(run.completions))
        if row.request_id == example.request_id
    ]
    assert (call.request_id, call.prompt_id) == (made.request_id, "p4")
    assert (call.teacher, call.model, call.usage) == (made.teacher, made.model, made.usage)
    assert (call.sampling, call.created_utc) == (SAMPLING, made.created_utc)
    assert call.place.manifest_sha256 == open_artifact(run.completions).manifest_sha256
    assert call.ledger is not None
    assert call.ledger.has_body


def test_what_no_record_tells_is_said_plainly(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert not row_history(run.dataset, 0).not_at_hand
    run.ledger.unlink()
    (note,) = row_history(run.dataset, 0).not_at_hand
    assert note.startswith("ledger: ")
    before = collected(tmp_path / "before")  # there was a gate
    edit_manifest(before.path, {"results": {}, "teacher": None})
    (note,) = row_history(before.path, 0).not_at_hand
    assert note.startswith("terms: ")


def test_the_terms_of_the_gate_are_told(tmp_path: Path) -> None:
    made = collected(tmp_path / "completions")
    edit_manifest(made.path, {"results": {"terms": {"verdict": "allow", "findings": []}}})
    history = row_history(made.path, 0)
    assert history.calls[0].terms == {"verdict": "allow", "findings": []}
    assert not history.not_at_hand


def test_an_answer_goes_back_to_all_that_were_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path, samples=3, task=free_text(name="titles"))
    history = row_history(run.dataset, "answers:2")
    assert {call.prompt_id for call in history.calls} == {"p2"}
    assert sorted(call.sample_index for call in history.calls) == [0, 1, 2]


def test_a_row_of_a_student_goes_back_over_its_dataset(tmp_path: Path) -> None:
    run = make_fitted(tmp_path)
    student = open_artifact(run.root / "student")
    row = next(iter(student.rows("validation", ValidationRow)))
    history = row_history(student.path, "validation:0")
    assert [place.table for place in history.path] == ["answers", "examples"]
    assert [call.prompt_id for call in history.calls] == [row.prompt_id]


def test_a_prompt_goes_to_its_completions(tmp_path: Path) -> None:
    made = collected(tmp_path / "completions", samples=2)
    calls = row_history(made.path, "prompts:5").calls
    assert [(call.prompt_id, call.sample_index) for call in calls] == [("p5", 0), ("p5", 1)]


def test_a_joined_row_goes_back_to_the_collection_that_paid_for_it(tmp_path: Path) -> None:
    first = collected(tmp_path / "first", prompts(4))
    second = collected(tmp_path / "second", prompts(4, word="letter"))
    both = join([first, second], tmp_path / "both", config=JoinConfig())
    curated = curate(both.path, tmp_path / "dataset", config=KEEP)
    examples = list(curated.rows("examples", Example))
    for number, example in enumerate(examples):
        (call,) = row_history(curated.path, number).calls
        wanted = "first" if "report" in example.messages[0].content else "second"
        assert Path(call.place.path).name == wanted
        assert [Path(copy.path).name for copy in call.copies] == ["both"]
        assert call.request_id == example.request_id
    assert {row.prompt_id for row in completions_of(both)} > {"p0", "p1"}  # and renamed ones


def test_a_replayed_row_goes_back_to_the_recording(tmp_path: Path) -> None:
    recorded = collected(tmp_path / "recorded", samples=2)
    config = CollectConfig(samples_per_prompt=2)
    spec = f"replay:{recorded.path}"
    again = collect(prompts(), tmp_path / "other" / "again", teacher=spec, config=config)
    rows = completions_of(again)
    for number in (0, 7):
        (call,) = row_history(again.path, number).calls
        assert Path(call.place.path).name == "recorded"
        assert call.request_id != rows[number].request_id
        assert (call.prompt_id, call.sample_index) == (
            rows[number].prompt_id,
            rows[number].sample_index,
        )
        assert call.teacher == completions_of(recorded)[0].teacher


def test_an_imported_row_names_its_line(tmp_path: Path) -> None:
    source = tmp_path / "export.jsonl"
    lines = [{"prompt": f"Say {n}", "completion": f"Said {n}", "model": "m"} for n in range(3)]
    source.write_text("\n" + "\n".join(map(json.dumps, lines)), encoding="utf-8")
    made = import_completions(source, tmp_path / "out" / "imported", config=ImportConfig())
    history = row_history(made.path, 2)
    (call,) = history.calls
    assert call.imported is not None
    assert (call.imported.name, call.imported.place) == ("export.jsonl", "line 4")
    assert call.imported.sha256 == made.manifest.config["source_sha256"]
    assert call.sampling is None
    kinds = {note.split(":")[0] for note in history.not_at_hand}
    assert kinds == {"ledger", "sampling", "cost"}
    assert call.terms is not None
    assert "teacher m" in [one["origin"] for one in call.terms["findings"]]


def test_a_row_that_was_imported_from_a_ledger_goes_back_to_its_call(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    made = import_completions(run.ledger, tmp_path / "imported", config=ImportConfig())
    (call,) = row_history(made.path, 0, ledger=run.ledger).calls
    assert call.ledger is not None
    assert call.sampling == SAMPLING
    asked = {row.request_id for row in completions_of(open_artifact(run.completions))}
    assert completions_of(made)[0].source in {f"request {request}" for request in asked}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("12", "has no row 12. Its rows are examples 0 to 11"),
        ("examples:12", "has no row examples:12"),
        ("answers:0", "Its tables are: examples"),
        ("-1", "is no place"),
        ("1.5", "is no place"),
        ("", "is no place"),
        ("\u0661", "is no place"),  # a digit, but none of ours
    ],
)
def test_a_row_that_is_not_there_is_one_clear_error(tmp_path: Path, row: str, message: str) -> None:
    run = make_run(tmp_path)
    before = listing(tmp_path)
    with pytest.raises(ConfigError, match=message):
        row_history(run.dataset, row)
    assert listing(tmp_path) == before


def test_an_artefact_without_rows_says_where_rows_are(tmp_path: Path) -> None:
    made = make_artifact(tmp_path / "a")
    edit_manifest(made.path, {"files": [], "rows_root": None, "kind": "student"})
    with pytest.raises(ConfigError, match=r"\(student\) has no rows\. Give what it was made"):
        row_history(made.path, 0)


def test_a_ledger_that_is_not_there_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        row_history(run.dataset, 0, ledger=tmp_path / "other.sqlite")
    (tmp_path / "other.sqlite").write_bytes(b"nothing")
    with pytest.raises(StillhouseError):
        row_history(run.dataset, 0, ledger=tmp_path / "other.sqlite")


def test_a_row_of_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    file = run.dataset / "examples-00000.parquet"
    data = bytearray(file.read_bytes())
    data[-6] ^= 0xFF
    file.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match="not a readable Parquet file"):
        row_history(run.dataset, 0)


def test_the_command_tells_the_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    run.ledger.unlink()
    ran = run_here(capsys, "lineage", run.dataset, "--row", "3")
    assert ran.code == 0
    history = row_history(run.dataset, 3)
    assert history.calls[0].request_id in ran.out
    assert "temperature 0.5" in ran.out
    assert "not at hand:" in ran.out
    shown = run_here(capsys, "lineage", run.dataset, "--row", "3", "--json")
    assert json.loads(shown.out) == history.model_dump(mode="json")
    assert run_here(capsys, "lineage", run.dataset, "--row", "3", "--quiet").out == ""
