"""The registry as it comes, and what a user's own may not be."""

from datetime import date
from pathlib import Path

import pytest
import yaml
from terms_cases import TODAY, built_in

from stillhouse.cli._docs import terms_text
from stillhouse.errors import ConfigError
from stillhouse.teachers._providers import PROVIDERS
from stillhouse.terms import REGISTRY_VERSION, load_registry
from stillhouse.terms._model_names import _entries

ROOT = Path(__file__).resolve().parents[2]
MINE = """
sources:
  - id: acme-api
    title: ACME API
    owner: ACME
    texts:
      agreement:
        {url: "https://acme.example", date: "2026-03", date_of: text, read: "2026-11-29",
         evidence: primary}
    clauses:
      - {id: acme-api/7, text: agreement, summary: No., effects: [{verdict: forbid}]}
"""
ASKED_FOR = (
    "openai-business openai-consumer anthropic-commercial google-gemini-api xai-enterprise "
    "mistral-commercial aws-bedrock ai21 deepseek-mit deepseek-license deepseek-api qwen-apache "
    "qwen-tongyi llama-2 llama-3 llama-3.1 llama-4 gemma-terms gemma-4 apache-2.0 mit cc-by-4.0 "
    "cc-by-sa-4.0 cc-by-nc-4.0 openrail-m exaone-nc odc-by-1.0 odbl-1.0 cc0-1.0 own"
)


def test_it_holds_what_was_asked_for() -> None:
    sources = built_in().sources
    assert set(ASKED_FOR.split()) <= set(sources)
    assert len(sources) >= 24
    clauses = [clause for one in sources.values() for clause in one.clauses]
    assert len({clause.id for clause in clauses}) == len(clauses)


def test_texts_that_were_read_have_a_hash_and_those_that_were_not_say_so() -> None:
    for source in built_in().sources.values():
        for name, text in source.texts.items():
            where = f"{source.id}: {name}"
            assert text.read <= REGISTRY_VERSION, where
            assert text.url.startswith("https://") or source.id == "own", where
            if text.sha256 is None:
                assert text.evidence in ("secondary", "recalled") or text.note, where
            else:
                assert text.source is not None, where
                assert len(text.source.commit) == 40, where
        for clause in source.clauses:
            if source.texts[clause.text].evidence == "recalled":
                assert clause.disputed, clause.id
            assert len(clause.summary) < 320, clause.id  # our words, not theirs


def test_every_provider_has_terms_or_is_a_server_of_the_user() -> None:
    registry = built_in()
    for name, provider in PROVIDERS.items():
        is_own = provider.key_variable is None
        assert (registry.of_provider(name) is None) == is_own, name
    known = {name for one in registry.sources.values() for name in one.providers}
    assert known <= set(PROVIDERS)


def test_names_of_models_lead_to_sources_that_are_there() -> None:
    sources = built_in().sources
    assert {one for entry in _entries() for one in entry.sources} <= set(sources)


def test_the_page_shows_the_registry_as_it_is() -> None:
    page = (ROOT / "docs" / "terms.md").read_text(encoding="utf-8")
    assert terms_text(page) == page, "Run: python -m stillhouse.cli._docs --write"
    assert "llama-3.1/1.b.i-name" in page


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_registry_of_the_user_adds_and_replaces_and_is_known_by_its_hash(tmp_path: Path) -> None:
    plain, added = built_in(), load_registry([written(tmp_path, MINE)], today=TODAY)
    assert set(added.sources) - set(plain.sources) == {"acme-api"}
    assert added.sha256 != plain.sha256
    assert added.version == f"{REGISTRY_VERSION} + 1"
    replaced = load_registry([written(tmp_path, MINE.replace("acme-api", "mit"))], today=TODAY)
    assert replaced.sources["mit"].title == "ACME API"
    assert len(replaced.sources) == len(plain.sources)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("verdict: forbid", "verdict: perhaps", r"effects\[0\]\.verdict is 'perhaps'; it must be"),
        ('date: "2026-03", ', "", r"texts\.agreement\.date is missing"),
        ("owner: ACME", "owner: ACME\n    color: red", r"color is not a setting"),
        ('"2026-03"', '"2027-03"', r"is 2027-03, after today \(2026-11-29\)"),
        ('"2026-11-29"', '"2026-11-30"', r"read of the text 'agreement' of acme-api"),
        ('"2026-03"', '"2026-13"', r"date is '2026-13'; it is not possible: month must be"),
        ('"2026-03"', '"March"', r"give a year, a month or a day"),
        ('"2026-03"', "2026-03-01", r"must be text; put it in quotes"),
        ("evidence: primary", "evidence: recalled", r"'acme-api/7' was not read: say so"),
        ("evidence: primary", f"evidence: primary, sha256: {'a' * 64}", r"sha256 and source go"),
        ("id: acme-api/7", "id: other/7", r"does not begin with 'acme-api/'"),
        ("text: agreement, ", "text: annex, ", r"stands in 'annex', no text of it"),
        ("[{verdict: forbid}]", "[{}]", r"an effect has either a verdict or a duty"),
        ("title: ACME API", "title: ACME API\n    providers: [openai]", r"is that of openai-busi"),
        ("title: ACME API", "title: ACME API\n    licenses: [mit]", r"licenses of acme-api name"),
        ("id: acme-api\n", "id: \u0410\u0441me\n", r"id is '.*'; it must match pattern"),
        ("sources:", "source:", r"holds 'sources:' with a list, and nothing else"),
    ],
)
def test_a_registry_with_a_mistake_is_refused_in_one_line(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in MINE
    path = written(tmp_path, MINE.replace(before, after, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        load_registry([path], today=TODAY)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_id_or_a_clause_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    data = yaml.safe_load(MINE)
    twice = {"sources": [data["sources"][0]] * 2}
    with pytest.raises(ConfigError, match="source 2: the id 'acme-api' is there twice"):
        load_registry([written(tmp_path, yaml.safe_dump(twice))], today=TODAY)
    data["sources"][0]["clauses"] *= 2
    with pytest.raises(ConfigError, match="clause 'acme-api/7' is there twice"):
        load_registry([written(tmp_path, yaml.safe_dump(data))], today=TODAY)


def test_a_clock_in_the_past_is_refused_with_a_registry_that_was_read_later(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Correct it, or the clock of this machine"):
        load_registry([written(tmp_path, MINE)], today=date(2020, 1, 1))
