"""`stillhouse terms`, as people and programs use it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from cli_process import Ran, run_here, write_prompts
from terms_files import OWN_USE, collection, declared

from stillhouse.signing import create_key
from stillhouse.terms import NOTE, Declaration, declaration_schema

Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STILLHOUSE_TERMS")


@pytest.fixture
def terms(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Ran:
        return run_here(capsys, "terms", *arguments)

    return run


def test_list_names_every_source_with_date_and_evidence(terms: Run) -> None:
    ran = terms("list")
    assert ran.code == 0
    assert "openai-business" in ran.out
    assert ran.out.endswith(f"{NOTE}\n")
    document = terms("list", "--json").json()
    assert len(document["sources"]) >= 24
    assert len(document["sha256"]) == 64
    assert terms("list", "--quiet").out == ""


def test_show_gives_each_clause_with_its_text(terms: Run) -> None:
    ran = terms("show", "llama-3.1")
    assert "llama-3.1/1.b.i-name" in ran.out
    assert "name prefix: Llama if distribution = service or weights" in ran.out
    assert "bf2eac60b81e5c5f779fc3b4849d3bfacfd63f97f3eb68b44e9c6868c5801712" in ran.out
    assert terms("show", "ai21", "--json").json()["clauses"][0]["disputed"]
    assert "Did you mean llama-3" in terms("show", "llama-3.0").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show",), "terms show takes a source. Give it."),
        (("check",), "terms check takes an artefact's folder, a config or a teacher's spec"),
        (("list", "x"), "terms list takes nothing"),
        (("check", "nowhere"), "is no folder, no file and no teacher's spec"),
        (("check", "0penai:gpt"), "'0penai' looks like 'openai'"),
        (("waive", "mit"), "terms waive needs --key, --clause, --grantee, --scope, --teacher"),
        (("list", "--terms", "none.yaml"), "none.yaml cannot be read"),
        (("init", "nowhere/terms.yaml"), "The folder nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    terms: Run, arguments: tuple[str, ...], message: str
) -> None:
    ran = terms(*arguments)
    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""
    assert len(ran.err.strip().splitlines()) == 1


def test_a_teacher_is_checked_before_it_is_asked(terms: Run, tmp_path: Path) -> None:
    ran = terms("check", "openai:gpt-5")
    assert ran.code == 2
    assert "verdict: unknown" in ran.out
    assert "competes: true or false" in ran.err
    path = declared(tmp_path, **OWN_USE)
    ran = terms("check", "openai:gpt-5", "--terms", path)
    assert ran.code == 0
    assert ran.out.endswith(f"verdict: allow\n{NOTE}\n")
    ran = terms("check", "local:", "--json")
    assert ran.json()["verdict"] == "allow"
    assert ran.json()["note"] == NOTE


def test_an_artefact_is_checked_with_its_lineage(terms: Run, tmp_path: Path) -> None:
    source = collection(tmp_path / "source", {"xai:grok": 2, "ollama:llama3.1:8b": 2})
    ran = terms("check", source)
    assert ran.code == 2
    assert "xai-enterprise/3.2 (2026-08-14) forbids it" in ran.err
    assert "name prefix: Llama (llama-3.1/1.b.i-name)" in ran.out
    document = terms("check", source, "--json").json()
    assert document["verdict"] == "forbid"
    assert document["changes"] == []
    rows = {one["origin"]: one["rows"] for one in document["findings"]}
    assert rows == {"teacher xai:grok": 2, "teacher ollama:llama3.1:8b": 2}


def test_a_config_is_checked_before_it_is_run(terms: Run, tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts.jsonl")
    config = tmp_path / "run.yaml"
    config.write_text("title: t\nprompts: prompts.jsonl\nstudents: {s: {}}\n")
    assert terms("check", config).code == 0
    config.write_text(config.read_text() + "terms: mine.yaml\n")
    ran = terms("check", config)
    assert ran.code == 2
    assert "mine.yaml cannot be read" in ran.err
    path = declared(tmp_path, base_models={"local:": "exaone-nc"}, commercial=True)
    ran = terms("check", config, "--terms", path)
    assert "exaone-nc/3.1" in ran.err


def test_init_writes_a_declaration_that_says_nothing_yet(terms: Run, tmp_path: Path) -> None:
    path = tmp_path / "terms.yaml"
    assert terms("init", path).code == 0
    text = path.read_text()
    given = yaml.safe_load(text)
    assert Declaration.model_validate(given) == Declaration()
    assert (tmp_path / "stillhouse-terms.schema.json").is_file()
    jsonschema.validate(given, declaration_schema())
    ran = terms("init", path)
    assert ran.code == 2
    assert "exists" in ran.err
    assert path.read_text() == text


def test_every_line_of_it_that_is_commented_out_can_be_used(terms: Run, tmp_path: Path) -> None:
    path = tmp_path / "terms.yaml"
    terms("init", path)
    lines = path.read_text().splitlines()
    setting = ("competes", "commercial", "distribution", "student", "accounts", "teachers")
    setting += ("datasets", "base_models", "readings", "licensee", "research")
    used, keeps = [], False
    for line in lines:
        bare = line.removeprefix("# ")
        keeps = bare.startswith(setting) or (keeps and bare.startswith("  "))
        used.append(bare if keeps else line)
    given = yaml.safe_load("\n".join(used))
    assert set(given) == {*setting, "purpose"}
    path.write_text("\n".join(used))
    assert terms("list", "--terms", path).code == 0
    jsonschema.validate(given, declaration_schema())


def test_an_owner_waives_and_the_teacher_may_be_asked(terms: Run, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    key, out = tmp_path / "owner.pem", tmp_path / "waiver.json"
    times = {"valid_from": now - timedelta(days=1), "valid_until": now + timedelta(days=365)}
    create_key(key, name="xAI", now=now, **times)
    until = (now + timedelta(days=30)).date().isoformat()
    words = ["waive", "xai-enterprise", "--key", key, "--clause", "xai-enterprise/3.2"]
    words += ["--grantee", "Me", "--scope", "tests", "--teacher", "xai:*", "--out", out]
    assert "is no day" in terms(*words, "--until", "soon").err
    assert not out.exists()
    ran = terms(*words, "--until", until)
    assert ran.code == 0, ran.err
    assert ran.out == f"{out}: xAI permits Me until {until}\n"
    trust = {"schema_version": 1, "keys": [{"key": "owner.pem.pub"}]}
    (tmp_path / "trust.yaml").write_text(yaml.safe_dump(trust))
    path = declared(tmp_path, licensee="Me", waivers=["waiver.json"], trust="trust.yaml")
    ran = terms("check", "xai:grok", "--terms", path)
    assert ran.code == 0, ran.err
    assert f"waived by xAI until {until}: xai-enterprise/3.2" in ran.out


def test_stages_take_the_declaration_as_a_flag(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    prompts, out = write_prompts(tmp_path / "prompts.jsonl"), tmp_path / "out"
    words = ["collect", prompts, "--teacher", "http://127.0.0.1:9/v1#m", "--out", out, "--json"]
    ran = run_here(capsys, *words)
    assert ran.code == 2
    assert '"type": "TermsError"' in ran.err
    path = declared(tmp_path, teachers={"http://127.0.0.1:*": "xai-enterprise"})
    assert "xai-enterprise/3.2" in run_here(capsys, *words, "--terms", path).err
    assert not out.exists()
    words = ["collect", prompts, "--teacher", "fake:", "--out", out, "--terms", path, "--json"]
    ran = run_here(capsys, *words)
    assert ran.json()["results"]["terms"]["verdict"] == "allow"
