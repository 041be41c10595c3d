"""Nothing is asked, and nothing learnt, that terms are not known to allow."""

from pathlib import Path
from typing import Any

import pytest
from batch_cases import APIS, point_at, some_prompts
from terms_files import OWN_USE, collection, dataset_of, declared, export
from tests.mock_provider import MockProvider

from stillhouse.artifacts import open_artifact
from stillhouse.collect import (
    CollectConfig,
    ImportConfig,
    ProxyConfig,
    collect,
    import_completions,
)
from stillhouse.collect._proxy._server import Proxy
from stillhouse.errors import ConfigError, TermsError
from stillhouse.fit import FitConfig, fit
from stillhouse.provenance import learning_terms, recorded_terms, terms_given
from stillhouse.serve import ServeConfig, TeacherConfig, open_engine
from stillhouse.terms import NOTE, Terms, load_terms

OPENAI = APIS["openai"]


@pytest.fixture(autouse=True)
def _nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STILLHOUSE_TERMS")


def collected(folder: Path, teacher: Any, **config: Any) -> Any:
    return collect(
        some_prompts(3),
        folder / "out",
        teacher=teacher,
        config=CollectConfig.model_validate(config),
    )


def test_an_api_teacher_without_a_declaration_is_not_asked_and_the_three_lines_are_named(
    tmp_path: Path, mock: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(monkeypatch, OPENAI, mock)
    before = mock.count
    with pytest.raises(TermsError) as caught:
        collected(tmp_path, OPENAI.spec)
    message = str(caught.value)
    assert "teacher openai:mock-small: openai-business is not known to allow it" in message
    assert "openai-business/3.3e (2026-01-01)" in message
    assert message.endswith(
        "Declare in terms.yaml, which 'stillhouse terms init' writes; give it with --terms: "
        "competes: true or false; distribution: internal, service or weights; "
        f"student: language_model or classifier. {NOTE}"
    )
    assert "\n" not in message
    assert caught.value.exit_code == 2
    assert mock.count == before
    assert list(tmp_path.iterdir()) == []


def test_with_those_lines_it_is_asked_and_the_verdict_stands_in_the_manifest(
    tmp_path: Path, mock: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(monkeypatch, OPENAI, mock)
    terms = declared(tmp_path, **OWN_USE)
    artifact = collected(tmp_path, OPENAI.spec, terms=str(terms))
    record = recorded_terms(artifact)
    assert record is not None
    assert record.verdict == "allow"
    assert [one.origin for one in record.findings] == [f"teacher {OPENAI.spec}"]
    assert record.declaration["competes"] is False
    teacher = artifact.manifest.teacher
    assert teacher is not None
    assert teacher.terms is not None
    assert teacher.terms.clause == "openai-business/3.3e"
    assert teacher.terms.date == "2026-01-01"
    assert teacher.terms.text_sha256 == record.findings[0].clauses[0].text_sha256
    assert "terms" not in artifact.manifest.config


def test_the_declaration_is_no_part_of_what_makes_a_collection_up_to_date(tmp_path: Path) -> None:
    first = collected(tmp_path, "fake:")
    terms = declared(tmp_path, **OWN_USE)
    assert collected(tmp_path, "fake:", terms=str(terms)).manifest_sha256 == first.manifest_sha256


def test_a_forbidden_teacher_among_several_stops_all_of_them(tmp_path: Path) -> None:
    terms = declared(tmp_path, **OWN_USE)
    with pytest.raises(TermsError, match=r"teacher xai:grok.*xai-enterprise/3\.2 \(2026-08-14\)"):
        collected(tmp_path, {"a": "fake:", "b": "xai:grok"}, terms=str(terms))
    assert [one.name for one in tmp_path.iterdir()] == ["terms.yaml"]


@pytest.mark.parametrize("spec", ["http://127.0.0.1:9/v1#m", "decisions:http://127.0.0.1:9/v1#m"])
def test_an_address_is_unknown_until_it_is_declared(tmp_path: Path, spec: str) -> None:
    with pytest.raises(TermsError, match="Nothing tells whose model answers at"):
        collected(tmp_path, spec)


def test_a_look_alike_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CYRILLIC SMALL LETTER O"):
        collected(tmp_path, "\N{CYRILLIC SMALL LETTER O}penai:gpt-5")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_prompts_may_be_others_data(tmp_path: Path) -> None:
    prompts = tmp_path / "squad.jsonl"
    prompts.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    terms = declared(tmp_path, datasets={"*/squad*": "cc-by-sa-4.0"}, distribution="weights")
    config = CollectConfig(terms=str(terms))
    artifact = collect(prompts, tmp_path / "out", teacher="fake:", config=config)
    record = recorded_terms(artifact)
    assert record is not None
    assert [duty.kind for duty in record.duties] == ["attribution", "share_alike"]
    assert record.findings[0].origin == "dataset squad.jsonl"
    assert str(tmp_path) not in record.model_dump_json()


def test_a_replay_is_under_what_was_recorded(tmp_path: Path) -> None:
    terms = declared(tmp_path, **OWN_USE)
    source = collection(tmp_path / "source", {"xai:grok": 3})
    with pytest.raises(TermsError, match=r"xai-enterprise/3\.2"):
        collected(tmp_path, f"replay:{source}", terms=str(terms))
    allowed = collection(tmp_path / "allowed", {"deepseek:deepseek-chat": 3})
    # It was asked, and has no such answers.
    config = {"terms": str(terms), "max_failure_fraction": 1.0}
    record = recorded_terms(collected(tmp_path, f"replay:{allowed}", **config))
    assert record is not None
    assert [one.source for one in record.findings] == ["deepseek-api"]


def test_an_import_records_and_the_student_is_held_up(tmp_path: Path) -> None:
    log = export(tmp_path / "log.jsonl", None)
    config = ImportConfig(model="gpt-4o-mini")
    imported = import_completions(log, tmp_path / "completions", config=config)
    record = recorded_terms(imported)
    assert record is not None
    assert record.verdict == "unknown"
    dataset = dataset_of(tmp_path / "dataset", imported.path)
    with pytest.raises(TermsError, match="'gpt-4o-mini' does not tell the licence"):
        fit(dataset.path, tmp_path / "student", config=FitConfig())
    assert not (tmp_path / "student").exists()
    terms = declared(tmp_path, teachers={"gpt-4o-mini": "openai-business"}, **OWN_USE)
    student = fit(dataset.path, tmp_path / "student", config=FitConfig(terms=str(terms)))
    made = recorded_terms(student)
    assert made is not None
    assert made.verdict == "allow"
    assert made.declaration["student"] == "classifier"
    teacher = next(one for one in made.findings if one.role == "teacher")
    assert (teacher.source, teacher.rows, teacher.share) == ("openai-business", 120, 1.0)
    assert [one.origin for one in made.findings if one.role == "base_model"] == [
        "base model no base model"
    ]


def test_rows_may_name_anything_without_stopping_an_import(tmp_path: Path) -> None:
    log = export(tmp_path / "log.jsonl", None)
    config = ImportConfig(model="\N{CYRILLIC SMALL LETTER O}penai")
    record = recorded_terms(import_completions(log, tmp_path / "out", config=config))
    assert record is not None
    assert record.verdict == "unknown"
    assert "CYRILLIC" in record.findings[0].reason


def test_a_student_of_another_kind_than_declared_is_refused(tmp_path: Path) -> None:
    source = collection(tmp_path / "source", {"deepseek:deepseek-chat": 40})
    dataset = dataset_of(tmp_path / "dataset", source)
    terms = declared(tmp_path, student="language_model")
    with pytest.raises(TermsError, match="says that a language_model is made, and this makes a"):
        fit(dataset.path, tmp_path / "student", config=FitConfig(terms=str(terms)))


def given(path: Path | None = None) -> Terms:
    return terms_given(path)


def test_training_adds_the_base_and_the_live_teachers(tmp_path: Path) -> None:
    source = collection(tmp_path / "source", {"ollama:llama3:8b": 4})
    dataset = dataset_of(tmp_path / "dataset", source)
    learn: dict[str, Any] = {"student": "language_model"}
    terms = given(declared(tmp_path, distribution="internal"))
    with pytest.raises(TermsError, match=r"llama-3/1\.b\.v \(2024-04-18\) forbids it"):
        learning_terms(dataset.path, terms, base="local:", **learn)
    same = given(declared(tmp_path, distribution="internal", base_models={"local:*": "llama-3"}))
    assert learning_terms(dataset.path, same, base="local:x", **learn).verdict == "allow"
    with pytest.raises(TermsError, match="llama-3/1"):
        learning_terms(dataset.path, same, base="local:x", is_random=True, **learn)
    with pytest.raises(TermsError, match="teacher local:y"):
        learning_terms(dataset.path, same, base="local:x", teachers=["local:y"], **learn)


def test_a_base_that_states_no_licence_is_unknown(tmp_path: Path) -> None:
    source = collection(tmp_path / "source", {"deepseek:deepseek-chat": 4})
    dataset = dataset_of(tmp_path / "dataset", source)
    with pytest.raises(TermsError, match=r"base model local:nowhere: nowhere states no licence"):
        learning_terms(dataset.path, given(), student="language_model", base="local:nowhere")


def test_a_proxy_does_not_pass_on_what_may_not_be_learnt_from(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    environ = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_API_KEY": "k"}
    with pytest.raises(TermsError, match="anthropic-commercial/usage-policy-training"):
        Proxy(ProxyConfig(to="anthropic", ledger=ledger), environ)
    assert not ledger.exists()
    terms = declared(tmp_path, teachers={"anthropic:*": "own"})
    Proxy(ProxyConfig(to="anthropic", ledger=ledger, terms=terms), environ)


def test_a_cascade_does_not_ask_a_teacher_that_may_not_be_learnt_from(tmp_path: Path) -> None:
    with pytest.raises(TermsError, match=r"xai-enterprise/3\.2"):
        open_engine(str(tmp_path), ServeConfig(), teacher=TeacherConfig(spec="xai:grok"))


def test_the_environment_names_a_declaration_and_a_setting_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    of_environment = declared(tmp_path, purpose="environment")
    of_setting = declared(tmp_path / "other", purpose="setting")
    monkeypatch.setenv("STILLHOUSE_TERMS", str(of_environment))
    assert terms_given(None).declaration.purpose == "environment"
    assert terms_given(str(of_setting)).declaration.purpose == "setting"
    assert load_terms(environ={}).declaration.purpose == ""
    monkeypatch.setenv("STILLHOUSE_TERMS", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read"):
        terms_given(None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("competes: maybe", "competes is 'maybe'"),
        ("compets: true", r"compets is not a setting\. Did you mean competes\?"),
        ("distribution: public", "distribution is 'public'; it must be"),
        ("teachers: {'a:*': nothing}", "teachers: a:*: 'nothing' is no source"),
        ("teachers: {'a:*': []}", "teachers"),
        ("accounts: {opena1: own}", "'opena1' is no provider of the registry"),
        ('accounts: {"\N{CYRILLIC SMALL LETTER O}penai": own}', "CYRILLIC"),
        ("registries: [none.yaml]", "none.yaml cannot be read"),
        ("readings: {x/y: {verdict: allow}}", "by is missing"),
        ("- a", "is a list; it must hold"),
        ("", "is empty; it must hold"),
    ],
)
def test_a_declaration_with_a_mistake_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_terms(path)
    assert message.replace("\\", "") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_artefact_keeps_its_verdict_through_a_round_trip(tmp_path: Path) -> None:
    artifact = collected(tmp_path, "fake:")
    record = recorded_terms(artifact)
    assert record is not None
    assert recorded_terms(open_artifact(artifact.path)) == record
    assert record.findings[0].source == "own"
