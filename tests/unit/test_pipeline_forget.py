"""Forgetting, end to end: real stages, a teacher that costs nothing, and no call made twice."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from artifact_chains import listing
from cli_process import run_here
from hypothesis import given, settings
from hypothesis import strategies as st
from provenance_cases import KEEP, SECRET, Run, collected, make_fitted, make_run, prompts
from tiny_chain import Chain
from tiny_chain import settings as train_settings

from stillhouse.artifacts import Artifact, Counts, begin_artifact, open_artifact
from stillhouse.collect import CollectConfig, ImportConfig, collect, import_completions
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError, DataError
from stillhouse.pipeline import forget
from stillhouse.pipeline._round_join import JoinConfig, join
from stillhouse.provenance import (
    Selection,
    lineage,
    plan_forgetting,
    row_history,
    select_row,
    verify,
)
from stillhouse.records import Completion, Example, Message, Prompt
from stillhouse.runlog import Ledger, Progress, erase_calls
from stillhouse.train import train


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_fitted` makes; tests work on copies."""
    return make_fitted(tmp_path_factory.mktemp("fitted") / "runs").root


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Run:
    """A copy of it in `runs`."""
    shutil.copytree(fitted, tmp_path / "runs")
    return Run(tmp_path / "runs")


def holds(root: Path, word: str) -> set[str]:
    """Names of the files under `root` that hold a word, in Parquet cells or anywhere else."""
    found = set()
    for path in root.rglob("*"):
        if path.is_file():
            if path.suffix == ".parquet":
                text = str(pq.read_table(path).to_pylist())
            else:
                text = path.read_bytes().decode("latin-1")
            if word in text:
                found.add(path.relative_to(root).as_posix())
    return found


def ledger_text(path: Path) -> str:
    """All that a ledger's file says, its packed segments included."""
    with closing(sqlite3.connect(path)) as file:
        segments = file.execute("SELECT raw_bytes, data FROM segments").fetchall()
    codec = pa.Codec("zstd")
    texts = [path.read_bytes()]
    for raw_bytes, data in segments:
        texts.append(data if raw_bytes is None else codec.decompress(data, raw_bytes, asbytes=True))
    return b"".join(texts).decode("latin-1")


def secret_row(run: Run) -> int:
    rows = list(open_artifact(run.completions).rows("completions", Completion))
    return next(number for number, row in enumerate(rows) if row.prompt_id == "c5")


def test_no_artefact_holds_the_row_after_rebuilding_and_nobody_was_asked(
    run: Run, tmp_path: Path
) -> None:
    fresh = make_fitted(tmp_path / "fresh", with_secret=False)
    with Ledger(run.ledger) as ledger:
        calls = ledger.totals().num_calls
    assert holds(run.completions, SECRET)
    selection = select_row(run.completions, secret_row(run))
    made = forget(selection, [run.root], why="a person objects")
    assert [(Path(path).name, action) for path, action in made.done] == [
        ("completions", "filter"),
        ("dataset", "rerun"),
        ("student", "rerun"),
    ]
    assert not made.left
    with Ledger(run.ledger) as ledger:
        assert ledger.totals().num_calls == calls
    for name in ("completions", "dataset", "student"):
        folder = run.root / name
        assert not holds(folder, SECRET)
        assert not holds(folder, '"c5"')
        verify(folder)
    # It is as if the row had never been: what is made of the others is equal, byte for byte.
    for name in ("dataset/examples-00000.parquet", "dataset/answers-00000.parquet"):
        assert (run.root / name).read_bytes() == (fresh.root / name).read_bytes()
    ours, theirs = (open_artifact(one.root / "student").manifest.files for one in (run, fresh))
    assert [(entry.name, entry.sha256) for entry in ours] == [
        (entry.name, entry.sha256) for entry in theirs
    ]
    counts = open_artifact(run.completions).manifest.counts
    assert (counts.num_in, counts.kept, counts.dropped) == (120, 119, {"forgotten": 1})


def test_what_is_not_made_of_the_row_is_not_touched(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "runs" / "other")
    before = listing(other.root)
    forget(Selection("prompt", "c5"), [tmp_path / "runs"])
    assert listing(other.root) == before
    assert verify(run.root / "student").artifacts


def test_a_filtered_collection_still_tells_where_its_rows_came_from(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    before = row_history(run.dataset, 1).calls[0]
    forget(Selection("prompt", "p0"), [tmp_path])
    after = row_history(run.dataset, 0).calls[0]
    assert (after.request_id, after.sampling, after.usage, after.teacher) == (
        before.request_id,
        before.sampling,
        before.usage,
        before.teacher,
    )
    assert lineage(run.dataset).nodes[0].manifest.stage == "forget"
    forget(Selection("prompt", "p1"), [tmp_path])
    config = open_artifact(run.completions).manifest.config
    assert (config["of"]["stage"], config["times"]) == ("collect", 2)


def make_export(folder: Path, dataset: Artifact) -> Artifact:
    """Something that no manifest says how to make again."""
    writer = begin_artifact(folder, kind="export", stage="export", config={}, parents=[dataset])
    writer.new_file("export.json").write_bytes(b"{}\n")
    return writer.finish(counts=Counts(num_in=1, kept=1))


def with_long(root: Path) -> Run:
    """A run with a prompt whose answer is too long to be an example, and an export."""
    words = " ".join(f"{letter * 20}" for letter in "abcdefgh")
    long = Prompt(id="long", messages=(Message(role="user", content=words),))
    run = Run(root)
    collected(run.completions, [*prompts(), long])
    dataset = curate(run.completions, run.dataset, config=CurateConfig(max_chars=100))
    assert dataset.manifest.counts.dropped == {"too_long": 1}
    make_export(root / "export", dataset)
    return run


def test_what_is_made_of_files_that_come_out_the_same_is_kept(tmp_path: Path) -> None:
    run = with_long(tmp_path)
    (run.root / "export" / "attestations.jsonl").write_bytes(b"of another manifest\n")
    files = {**listing(run.dataset), **listing(run.root / "export")}
    files.pop("attestations.jsonl")  # it says nothing of what comes
    made = forget(Selection("prompt", "long"), [tmp_path])
    assert [(Path(path).name, action) for path, action in made.done] == [
        ("completions", "filter"),
        ("dataset", "rerun"),
        ("export", "kept"),
    ]
    assert not made.left
    after = {**listing(run.dataset), **listing(run.root / "export")}
    changed = {name for name in files if files[name] != after[name]}
    assert changed == {"manifest.json"}
    assert len(verify(run.root / "export").artifacts) == 3


def test_what_no_manifest_can_make_again_is_left_for_its_owner(tmp_path: Path) -> None:
    run = with_long(tmp_path)
    before = listing(run.root / "export")
    made = forget(Selection("prompt", "p2"), [tmp_path])
    (left,) = made.left
    assert (Path(left.path).name, left.action) == ("export", "by_hand")
    assert "stillhouse export" in left.why
    assert listing(run.root / "export") == before


def test_a_teacher_that_withdrew_leaves_a_join_of_the_others(tmp_path: Path) -> None:
    one = collected(tmp_path / "one", prompts(6))
    source = tmp_path / "export.jsonl"
    lines = [{"prompt": f"Say {n}", "completion": f"Said {n}", "model": "gone-1"} for n in range(4)]
    source.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    two = import_completions(source, tmp_path / "two", config=ImportConfig())
    both = join([one, two], tmp_path / "both", config=JoinConfig())
    dataset = curate(both.path, tmp_path / "dataset", config=KEEP)
    alone = curate(two.path, tmp_path / "alone", config=KEEP)
    kept = listing(one.path)
    made = forget(Selection("teacher", "gone-1"), [tmp_path], why="permission withdrawn")
    assert {Path(path).name: action for path, action in made.done} == {
        "two": "remove",
        "alone": "remove",
        "both": "rerun",
        "dataset": "rerun",
    }
    assert not two.path.exists()
    assert not alone.path.exists()
    assert listing(one.path) == kept
    answers = {row.teacher for row in open_artifact(both.path).rows("completions", Completion)}
    assert answers == {one.manifest.teacher.id if one.manifest.teacher else ""}
    assert len(list(open_artifact(dataset.path).rows("examples", Example))) == 6
    verify(dataset.path)


@pytest.mark.parametrize("is_at_hand", [False, True])
def test_signals_and_students_are_made_again_where_their_teacher_is_at_hand(
    tmp_path: Path, chain: Chain, is_at_hand: bool
) -> None:
    root = tmp_path / "chain"
    shutil.copytree(chain.dataset.parent, root)
    learning = train_settings(chain, epochs=0.25)
    train(root / "dataset", root / "student", config=learning, signal=root / "signal")
    before = open_artifact(root / "signal").manifest.results["rows"]
    local = chain.teacher if is_at_hand else None
    made = forget(Selection("prompt", "p0"), [root], local=local)
    done = {Path(path).name: action for path, action in made.done}
    if not is_at_hand:
        assert done == {"completions": "filter", "dataset": "rerun"}
        assert [Path(step.path).name for step in made.left] == ["signal", "student"]
        local = chain.teacher
        made = forget(Selection("prompt", "p0"), [root], local=local)
        done |= {Path(path).name: action for path, action in made.done}
    assert done == {
        "completions": "filter",
        "dataset": "rerun",
        "signal": "rerun",
        "student": "rerun",
    }
    assert not made.left
    results = open_artifact(root / "signal").manifest.results
    assert results["rows"] == before - 1
    assert results["rows_scored"] == 0  # what was recorded while the text was generated is used
    assert len(verify(root / "student").artifacts) == 4


def test_a_source_is_named_by_its_file_or_its_hash(tmp_path: Path) -> None:
    source = tmp_path / "export.jsonl"
    source.write_text('{"prompt": "Say", "completion": "Said", "model": "m"}', encoding="utf-8")
    made = import_completions(source, tmp_path / "runs" / "imported", config=ImportConfig())
    digest = str(made.manifest.config["source_sha256"])
    for name in ("export.jsonl", digest, digest[:12]):
        plan = plan_forgetting(Selection("source", name), [tmp_path / "runs"])
        assert [step.action for step in plan.steps] == ["remove"]
    assert not plan_forgetting(Selection("source", digest[:11]), [tmp_path / "runs"]).steps


def test_a_replay_is_found_by_what_it_answered(tmp_path: Path) -> None:
    recorded = collected(tmp_path / "recorded", prompts(6))
    collect(
        prompts(6),
        tmp_path / "again",
        teacher=f"replay:{recorded.path}",
        config=CollectConfig(),
        ledger=tmp_path / "ledger.sqlite",
    )
    row = select_row(tmp_path / "again", 2)
    plan = plan_forgetting(row, [tmp_path])
    assert [(Path(step.path).name, step.action) for step in plan.steps] == [
        ("recorded", "filter"),
        ("again", "filter"),
    ]
    assert not forget(row, [tmp_path]).left
    assert len(list(open_artifact(tmp_path / "again").rows("completions", Completion))) == 5
    verify(tmp_path / "again")


def test_a_run_that_was_stopped_goes_on(run: Run, fitted: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(run.root, whole)
    forget(Selection("prompt", "c5"), [whole])
    # Stopped after the completions, and between taking the dataset away and its new one's move.
    forget(Selection("prompt", "c5"), [run.root])
    (run.dataset).rename(run.dataset.with_name("dataset.forgetting"))
    shutil.rmtree(run.root / "student")
    shutil.copytree(fitted / "student", run.root / "student")
    made = forget(Selection("prompt", "c5"), [run.root])
    assert [(Path(path).name, action) for path, action in made.done] == [("student", "rerun")]
    assert not made.left
    for name in ("dataset", "student"):
        ours, theirs = (open_artifact(root / name).manifest.files for root in (run.root, whole))
        assert ours == theirs
    verify(run.root / "student")


def test_a_stage_that_can_make_nothing_of_the_rest_is_named_and_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = " ".join(f"{letter * 20}" for letter in "abcdefgh")
    long = Prompt(id="long", messages=(Message(role="user", content=words),))
    run = Run(tmp_path)
    collected(run.completions, [*prompts()[:4], long])
    curate(run.completions, run.dataset, config=KEEP)
    config = CurateConfig(min_chars=100)
    alone = curate(run.completions, run.root / "alone", config=config)
    assert alone.manifest.counts.kept == 1
    ran = run_here(capsys, "forget", run.root, "--prompt", "long", "--apply")
    assert ran.code == 2
    assert "made again: " in ran.out
    assert "alone: No completion of" in ran.out
    assert not (run.root / "alone.forgetting").exists()
    verify(run.dataset)


@given(gone=st.sets(st.integers(0, 11), min_size=1, max_size=4))
@settings(max_examples=6, deadline=None)
def test_whatever_is_forgotten_one_by_one_is_as_if_it_had_never_been(
    tmp_path_factory: pytest.TempPathFactory, gone: set[int]
) -> None:
    root = tmp_path_factory.mktemp("some")
    run = make_run(root / "runs", samples=2)
    for number in sorted(gone):
        assert not forget(Selection("prompt", f"p{number}"), [run.root]).left
    left = [prompt for number, prompt in enumerate(prompts()) if number not in gone]
    fresh = Run(root / "fresh")
    collected(fresh.completions, left, samples=2)
    curate(fresh.completions, fresh.dataset, config=KEEP)
    name = "examples-00000.parquet"
    assert (run.dataset / name).read_bytes() == (fresh.dataset / name).read_bytes()
    verify(run.dataset)


class StoppedError(Exception):
    """Raised where a run is broken off."""


def test_a_run_that_stops_at_any_moment_ends_the_same(tmp_path: Path) -> None:
    run = make_run(tmp_path / "made")
    curate(run.completions, run.root / "second", config=CurateConfig())
    whole = tmp_path / "whole"
    shutil.copytree(run.root, whole)
    forget(Selection("prompt", "p3"), [whole])
    for number in count():  # until a run is through before it is told to stop
        root = tmp_path / str(number)
        shutil.copytree(run.root, root)
        left = iter(range(number))

        def stop(_: Progress, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise StoppedError

        try:
            forget(Selection("prompt", "p3"), [root], on_progress=stop)
        except StoppedError:
            is_through = False
        else:
            is_through = True
        if not is_through:
            with suppress(DataError):  # stopped after its last step, it has nothing left to do
                assert not forget(Selection("prompt", "p3"), [root]).left
        for name in ("completions", "dataset", "second"):
            ours, theirs = (open_artifact(one / name).manifest.files for one in (root, whole))
            assert ours == theirs
            verify(root / name)
        assert not list(root.rglob("*.forgetting"))
        if is_through:
            break
    assert number >= 4


def test_what_is_done_by_hand_is_said_and_blocks_what_is_made_of_it(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    shutil.copytree(run.dataset, tmp_path / "elsewhere" / "copy")
    made = forget(Selection("prompt", "p2"), [tmp_path])
    (left,) = made.left
    assert (Path(left.path).name, left.action) == ("copy", "by_hand")
    assert left.rows == {"examples": 1}


def test_a_name_that_nothing_has_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    before = listing(run.root)
    with pytest.raises(DataError, match=r"is made of prompt 'p99'"):
        forget(Selection("prompt", "p99"), [run.root])
    assert listing(run.root) == before
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no artefact under"):
        forget(Selection("prompt", "p1"), [tmp_path / "empty"])
    with pytest.raises(ConfigError, match="is no folder"):
        forget(Selection("prompt", "p1"), [tmp_path / "nowhere"])


def test_a_file_that_is_not_ours_stops_before_anything_is_lost(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run.completions / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"notes\.txt, which is not part of the artefact"):
        forget(Selection("prompt", "p1"), [tmp_path])
    assert (run.completions / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (run.completions / "manifest.json").is_file()


def test_the_command_plans_then_applies_and_erases(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = str(secret_row(run))
    before = listing(run.root)
    planned = run_here(capsys, "forget", run.completions, "--row", row, "--out", tmp_path / "plan")
    assert planned.code == 0
    assert listing(run.root) == before
    plan = json.loads((tmp_path / "plan" / "plan.json").read_bytes())
    assert [step["action"] for step in plan["steps"]] == ["filter", "rerun", "rerun"]
    assert plan["steps"][0]["prompt_ids"] == ["c5"]
    assert "take the rows out" in (tmp_path / "plan" / "plan.txt").read_text(encoding="utf-8")
    assert SECRET not in (tmp_path / "plan" / "plan.json").read_text(encoding="utf-8")
    ran = run_here(
        capsys, "forget", run.completions, "--row", row, "--apply", "--erase", run.ledger
    )
    assert (ran.code, "calls erased from the ledger: 1" in ran.out) == (0, True)
    assert holds(tmp_path / "runs", SECRET) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--prompt", "a", "--group", "b"],
        ["--prompt", "p1", "--erase", "ledger.sqlite"],
        ["--prompt", "none"],
        ["--row", "400"],
    ],
)
def test_a_wrong_command_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    run = make_run(tmp_path)
    before = listing(tmp_path)
    ran = run_here(capsys, "forget", run.dataset, *arguments, "--out", tmp_path / "plan")
    assert ran.code == 2
    assert len(ran.err.strip().splitlines()) == 1
    assert listing(tmp_path) == before


def test_an_erased_call_keeps_its_cost_and_is_not_asked_again(run: Run, tmp_path: Path) -> None:
    (call,) = row_history(run.completions, secret_row(run)).calls
    asked = list(open_artifact(run.completions).rows("prompts", Prompt))
    with Ledger(run.ledger) as ledger:
        before = ledger.totals()
        others = [one.request.id for one in ledger.recorded(up_to=ledger.extent()[0])]
    assert SECRET in ledger_text(run.ledger)
    assert erase_calls(run.ledger, [call.request_id, "0" * 64]) == 1
    with Ledger(run.ledger) as ledger:
        assert ledger.totals() == before
        (answer,) = ledger.answered([call.request_id])
        assert (answer.body, answer.usage) == (b"", call.usage)
        (request,) = ledger.requests([call.request_id])
        assert request.messages[0].content == "(erased)"
        left = {one.request.id for one in ledger.recorded(up_to=ledger.extent()[0])}
    assert left == set(others) - {call.request_id}
    assert SECRET not in ledger_text(run.ledger)
    script = run.root / "script.jsonl"
    again = collected(run.root / "again", asked, teacher=f"fake:{script}")
    assert again.manifest.counts.dropped == {"erased": 1}
    history = row_history(run.completions, secret_row(run))
    assert history.calls[0].ledger is not None
    assert not history.calls[0].ledger.has_body
    with Ledger(run.ledger) as ledger:
        assert ledger.totals().num_calls == before.num_calls
