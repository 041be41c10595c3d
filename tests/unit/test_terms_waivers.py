"""An owner's permission: what it lifts, and each way in which it does not count."""

import base64
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from stillhouse.errors import ConfigError, SignatureError, StillhouseError, TermsError
from stillhouse.signing import PrivateKey, Statement, Subject, create_key, load_private_key, sign
from stillhouse.terms import (
    WAIVER_TYPE,
    Permission,
    Terms,
    allowed,
    load_registry,
    load_terms,
    teacher_origin,
    write_waiver,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
CLAUSES = ("anthropic-commercial/usage-policy-training", "anthropic-commercial/D.4")
PERMISSION = Permission(
    owner="Anthropic",
    source="anthropic-commercial",
    clauses=CLAUSES,
    grantee="Example Ltd",
    scope="one classifier",
    teacher="anthropic:claude-*",
    valid_until=date(2027, 6, 30),
)


def key(folder: Path, name: str) -> PrivateKey:
    path = folder / f"{name}.pem"
    year = timedelta(days=365)
    create_key(path, name=name, valid_from=NOW - year, valid_until=NOW + year, now=NOW)
    return load_private_key(path)


@pytest.fixture
def owner(tmp_path: Path) -> PrivateKey:
    return key(tmp_path, "Anthropic")


def waived(folder: Path, permission: Permission, signer: PrivateKey, **declared: Any) -> Path:
    """A declaration with a waiver and with a trust file that has the owner's key."""
    write_waiver(
        folder / "waiver.json",
        permission,
        signer,
        registry=load_registry(today=NOW.date()),
        now=NOW,
    )
    return declaration(folder, **declared)


def declaration(folder: Path, **declared: Any) -> Path:
    trust = {"schema_version": 1, "keys": [{"key": "Anthropic.pem.pub"}]}
    (folder / "trust.yaml").write_text(yaml.safe_dump(trust), encoding="utf-8")
    given = {
        "licensee": "Example Ltd",
        "competes": True,
        "commercial": True,
        "distribution": "weights",
        "waivers": ["waiver.json"],
        "trust": "trust.yaml",
        **declared,
    }
    path = folder / "terms.yaml"
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    return path


def asked(terms: Terms, spec: str = "anthropic:claude-opus") -> Any:
    return allowed([teacher_origin(spec, terms.declaration, terms.registry)], terms)


def test_a_waiver_lifts_the_clauses_that_it_names_and_is_recorded(
    tmp_path: Path, owner: PrivateKey
) -> None:
    record = asked(load_terms(waived(tmp_path, PERMISSION, owner), now=NOW))
    assert record.verdict == "allow"
    (used,) = record.waivers
    assert used.owner == "Anthropic"
    assert used.key_id == owner.key_id
    assert used.clauses == CLAUSES
    assert used.valid_until == "2027-06-30"
    assert len(used.envelope_sha256) == 64
    assert "is waived by Anthropic" in record.findings[0].reason


def test_it_lifts_no_other_clause(tmp_path: Path, owner: PrivateKey) -> None:
    part = PERMISSION.model_copy(update={"clauses": CLAUSES[:1]})
    terms = load_terms(waived(tmp_path, part, owner), now=NOW)
    with pytest.raises(TermsError, match=r"anthropic-commercial/D\.4 \(2025-06-17\) forbids it"):
        asked(terms)


def test_one_for_another_teacher_does_not_help_and_the_refusal_says_so(
    tmp_path: Path, owner: PrivateKey
) -> None:
    haiku = PERMISSION.model_copy(update={"teacher": "anthropic:claude-haiku*"})
    terms = load_terms(waived(tmp_path, haiku, owner), now=NOW)
    with pytest.raises(TermsError, match=r"is for 'anthropic:claude-haiku\*', another teacher"):
        asked(terms)


def test_one_of_another_source_does_not_help(tmp_path: Path, owner: PrivateKey) -> None:
    terms = load_terms(waived(tmp_path, PERMISSION, owner), now=NOW)
    with pytest.raises(TermsError, match=r"xai-enterprise/3\.2"):
        asked(terms, "xai:grok")


def refusal(path: Path, now: datetime = NOW) -> str:
    with pytest.raises(StillhouseError) as caught:
        load_terms(path, now=now)
    assert isinstance(caught.value, ConfigError | SignatureError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_that_has_ended_is_refused(tmp_path: Path, owner: PrivateKey) -> None:
    path = waived(tmp_path, PERMISSION, owner)
    assert load_terms(path, now=NOW + timedelta(days=200)).waivers
    assert "ended on 2027-06-30" in refusal(path, NOW + timedelta(days=214))


def test_one_for_somebody_else_is_refused(tmp_path: Path, owner: PrivateKey) -> None:
    path = waived(tmp_path, PERMISSION, owner, licensee="Other Ltd")
    assert "permits 'Example Ltd', and the declaration's licensee is 'Other Ltd'" in refusal(path)


def test_one_by_a_key_that_is_not_trusted_is_refused(tmp_path: Path, owner: PrivateKey) -> None:
    (tmp_path / "else").mkdir()
    impostor = key(tmp_path / "else", "Anthropic")
    path = waived(tmp_path, PERMISSION, impostor)
    assert "a key that the trust file does not have" in refusal(path)


def test_one_that_was_altered_is_refused(tmp_path: Path, owner: PrivateKey) -> None:
    path = waived(tmp_path, PERMISSION, owner)
    file = tmp_path / "waiver.json"
    envelope = json.loads(file.read_bytes())
    payload = base64.b64decode(envelope["payload"]).replace(b"2027-06-30", b"2037-06-30")
    envelope["payload"] = base64.b64encode(payload).decode()
    file.write_text(json.dumps(envelope, separators=(",", ":"), sort_keys=True) + "\n")
    assert "has changed since it was signed" in refusal(path)


def test_a_clock_in_the_past_is_refused(tmp_path: Path, owner: PrivateKey) -> None:
    path = waived(tmp_path, PERMISSION, owner)
    assert "which lies ahead" in refusal(path, NOW - timedelta(days=30))


def signed(folder: Path, signer: PrivateKey, predicate: dict[str, Any], kind: str) -> None:
    subject = Subject(name=predicate.get("source", "x"), sha256="0" * 64)
    statement = Statement(subjects=(subject,), predicate_type=kind, predicate=predicate)
    (folder / "waiver.json").write_bytes(sign(statement, signer, now=NOW).to_bytes() + b"\n")


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({}, WAIVER_TYPE, "was signed for something else than it says"),
        ({"owner": "OpenAI"}, WAIVER_TYPE, "is by 'OpenAI', but signed by 'Anthropic'"),
        ({"clauses": []}, WAIVER_TYPE, "is no waiver of version 1: clauses"),
        ({"forever": True}, WAIVER_TYPE, "is no waiver of version 1: forever"),
        ({}, "https://stillhouse.dev/attestation/run/v1", "is needed"),
    ],
)
def test_one_that_the_owner_signed_wrongly_is_refused(
    tmp_path: Path, owner: PrivateKey, change: dict[str, Any], kind: str, message: str
) -> None:
    signed(tmp_path, owner, {**PERMISSION.model_dump(mode="json"), **change}, kind)
    assert message in refusal(declaration(tmp_path))


def test_waivers_need_to_know_whom_to_trust(tmp_path: Path, owner: PrivateKey) -> None:
    path = waived(tmp_path, PERMISSION, owner, trust=None)
    assert "has waivers but no 'trust'" in refusal(path)
    (tmp_path / "waiver.json").unlink()
    assert "waiver.json" in refusal(declaration(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "anthropic"}, "'anthropic' is no source"),
        ({"clauses": ("anthropic-commercial/E.9",)}, "no clause of anthropic-commercial"),
        ({"valid_until": date(2026, 1, 1)}, "which has passed"),
        ({"owner": "OpenAI"}, "permits with a key of their own name"),
        ({"teacher": "\N{CYRILLIC SMALL LETTER A}nthropic:*"}, "CYRILLIC"),
    ],
)
def test_a_waiver_that_could_not_count_is_not_written(
    tmp_path: Path, owner: PrivateKey, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        waived(tmp_path, PERMISSION.model_copy(update=change), owner)
    assert not (tmp_path / "waiver.json").exists()


def test_a_waiver_is_never_written_over(tmp_path: Path, owner: PrivateKey) -> None:
    waived(tmp_path, PERMISSION, owner)
    before = (tmp_path / "waiver.json").read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        waived(tmp_path, PERMISSION, owner)
    assert (tmp_path / "waiver.json").read_bytes() == before
