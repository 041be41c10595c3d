"""The terms of a whole lineage: whose rows are left, and what has changed since."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_cases import completion, prompt
from terms_cases import built_in
from terms_files import OWN_USE, collection, dataset_of, declared

from stillhouse.artifacts import Counts, begin_artifact, open_artifact
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import IntegrityError, TermsError
from stillhouse.fit import FitConfig, fit
from stillhouse.pipeline import RunConfig, run, terms_of_config
from stillhouse.provenance import (
    LineageTerms,
    asking_terms,
    origins_of,
    terms_given,
    terms_of,
)
from stillhouse.records import Completion, Prompt
from stillhouse.terms import load_terms


@pytest.fixture(autouse=True)
def _nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STILLHOUSE_TERMS")


def judged(folder: Path, terms: Path | None = None) -> LineageTerms:
    return terms_of(folder, terms_given(terms))


def shares(found: LineageTerms) -> dict[str, tuple[int | None, float | None]]:
    return {
        one.origin: (one.rows, one.share) for one in found.record.findings if one.role == "teacher"
    }


def test_each_teacher_has_the_rows_that_the_dataset_kept_of_it(tmp_path: Path) -> None:
    source = collection(
        tmp_path / "source", {"deepseek:deepseek-chat": 30, "mistral:m": 10, "fake:": 0}
    )
    dataset = dataset_of(tmp_path / "dataset", source)
    assert shares(judged(dataset.path)) == {
        "teacher deepseek:deepseek-chat": (30, 0.75),
        "teacher mistral:m": (10, 0.25),
    }


def test_a_teacher_whose_rows_were_all_dropped_binds_nothing(tmp_path: Path) -> None:
    """Of two collections one is forbidden; what is curated is the other one's answers alone."""
    prompts = [prompt(f"p{n}", f"text {n}") for n in range(6)]
    answers = [completion(one, "spam", teacher="deepseek:deepseek-chat") for one in prompts[:3]]
    answers += [completion(one, " ", teacher="xai:grok") for one in prompts[3:]]  # empty: dropped
    writer = begin_artifact(tmp_path / "source", kind="completions", stage="collect", config={})
    writer.write_rows("prompts", prompts, Prompt)
    writer.write_rows("completions", answers, Completion)
    writer.finish(counts=Counts.model_validate({"in": 6, "kept": 6}))
    dataset = curate(tmp_path / "source", tmp_path / "dataset", config=CurateConfig())
    found = judged(dataset.path)
    assert shares(found)["teacher xai:grok"] == (0, 0.0)
    assert found.record.verdict == "allow"
    assert judged(tmp_path / "source").record.verdict == "forbid"
    assert found.num_unrecorded == 1


def test_a_join_names_the_teachers_of_its_parts(tmp_path: Path) -> None:
    one = collection(tmp_path / "one", {"deepseek:deepseek-chat": 3})
    other = collection(tmp_path / "other", {"groq:deepseek-r1": 2})
    rows = {"deepseek:deepseek-chat": 3, "groq:deepseek-r1": 2}
    joined = collection(tmp_path / "joined", rows, parents=(one, other))
    found = judged(joined)
    assert shares(found)["teacher deepseek:deepseek-chat"] == (3, 0.6)
    assert found.record.verdict == "unknown"
    assert sorted({finding.source for finding in found.record.findings}) == [
        "deepseek-api",
        "deepseek-mit",
        "hosted-groq",
    ]


def test_a_replay_stands_for_those_behind_it(tmp_path: Path) -> None:
    source = collection(tmp_path / "source", {"mistral:m": 3})
    replay = f"replay:{open_artifact(source).manifest_sha256[:16]}"
    again = collection(tmp_path / "again", {replay: 3}, parents=(source,))
    assert shares(judged(again)) == {"teacher mistral:m": (3, 1.0)}
    mixed = collection(tmp_path / "mixed", {"mistral:m": 1, "xai:grok": 1})
    replay = f"replay:{open_artifact(mixed).manifest_sha256[:16]}"
    found = judged(collection(tmp_path / "both", {replay: 2}, parents=(mixed,)))
    assert shares(found) == {"teacher mistral:m": (None, None), "teacher xai:grok": (None, None)}
    assert found.record.verdict == "forbid"


def test_a_student_answers_under_all_that_it_was_made_from(tmp_path: Path) -> None:
    terms = declared(tmp_path, teachers={"t": "llama-3.1"}, distribution="weights")
    source = collection(tmp_path / "source", {"t": 60}, terms=terms)
    dataset = dataset_of(tmp_path / "dataset", source)
    student = fit(dataset.path, tmp_path / "student", config=FitConfig(terms=str(terms)))
    assert [duty.value for duty in judged(student.path).record.duties] == [
        "Built with Llama",
        "Llama",
    ]
    # A teacher in its turn: its answers carry the name on.
    again = collection(tmp_path / "again", {"fake:": 1})
    assert judged(again).record.duties == ()
    record = asking_terms([f"local:{student.path}"], terms_given(terms))
    assert record.findings[0].source == "llama-3.1"
    assert [duty.value for duty in record.duties] == ["Built with Llama", "Llama"]


def test_a_dataset_of_which_no_teacher_is_known_is_unknown(tmp_path: Path) -> None:
    writer = begin_artifact(tmp_path / "data", kind="dataset", stage="curate", config={})
    writer.finish(counts=Counts.model_validate({"in": 0, "kept": 0}))
    assert judged(tmp_path / "data").record.verdict == "unknown"
    terms = declared(tmp_path, datasets={"*/data": "cc0-1.0"})
    assert judged(tmp_path / "data", terms).record.verdict == "allow"


def changed_record(folder: Path, change: dict[str, str]) -> None:
    """Write a manifest as if another registry had judged, or somebody had broken the record."""
    artifact = open_artifact(folder)
    text = json.dumps(artifact.manifest.results["terms"])
    for before, after in change.items():
        assert before in text
        text = text.replace(before, after)
    results = {**artifact.manifest.results, "terms": json.loads(text)}
    manifest = artifact.manifest.model_copy(update={"results": results})
    (folder / "manifest.json").write_bytes(manifest.to_bytes())


def test_where_todays_verdict_differs_from_the_recorded_one_is_said(tmp_path: Path) -> None:
    source = collection(tmp_path / "source", {"xai:grok": 2})
    assert judged(source).changes == ()
    changed_record(source, {'"verdict": "forbid"': '"verdict": "allow"'})
    (change,) = judged(source).changes
    assert (change.origin, change.source) == ("teacher xai:grok", "xai-enterprise")
    assert (change.recorded, change.today) == ("allow", "forbid")
    assert change.folder == source


def test_what_was_declared_then_counts_where_nothing_is_declared_now(tmp_path: Path) -> None:
    terms = declared(tmp_path, **OWN_USE)
    source = collection(tmp_path / "source", {"openai:gpt-5": 2}, terms=terms)
    assert judged(source).record.verdict == "allow"
    other = declared(tmp_path, competes=True, distribution="service", student="classifier")
    found = judged(source, other)
    assert found.record.verdict == "forbid"
    assert [(one.recorded, one.today) for one in found.changes] == [("allow", "forbid")]


@pytest.mark.parametrize(
    "change",
    [
        {'"verdict": "allow"': '"verdict": "maybe"'},
        {'"role": "teacher"': '"role": "janitor"'},
        {'"findings"': '"found"'},
    ],
)
def test_a_record_that_is_none_is_an_error(tmp_path: Path, change: dict[str, str]) -> None:
    source = collection(tmp_path / "source", {"mistral:m": 2})
    changed_record(source, change)
    with pytest.raises(IntegrityError, match=r"results\.terms is no record of terms"):
        judged(source)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_shares_are_of_all_rows(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("shares") / "source"
    names = [f"mistral:m{number}" for number in range(len(counts))]
    collection(folder, dict(zip(names, counts, strict=True)))
    origins = {one.name: one for one in origins_of(folder, load_terms(environ={}))}
    for name, count in zip(names, counts, strict=True):
        if count:
            assert origins[name].rows == count
            assert origins[name].share == count / sum(counts)
        else:
            assert name not in origins


def run_config(**changes: object) -> RunConfig:
    fields = {"title": "t", "prompts": "p.jsonl", "students": {"s": {}}, **changes}
    return RunConfig.model_validate(fields)


def test_a_run_is_judged_as_a_whole_before_its_first_stage(tmp_path: Path) -> None:
    record = terms_of_config(run_config(), tmp_path)
    assert record.verdict == "allow_with_duties"  # SmolLM2's notice, if weights are passed on
    assert [duty.kind for duty in record.duties] == ["notice"]
    declared(tmp_path, teachers={"local:llama": "llama-3"}, distribution="internal")
    config = run_config(teacher="local:llama", terms="terms.yaml")
    record = terms_of_config(config, tmp_path)
    assert record.verdict == "forbid"
    assert built_in().sha256 == record.registry_sha256
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "split": "held_out"}\n')
    with pytest.raises(TermsError, match=r"llama-3/1\.b\.v"):
        run(config, tmp_path / "out", config_dir=tmp_path)
    assert not (tmp_path / "out").exists()
