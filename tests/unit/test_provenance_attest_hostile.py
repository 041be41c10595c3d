"""Damaged, replayed and forged attestations: one refusal for each, and any changed byte."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from artifact_chains import edit_manifest, make_artifact, make_chain
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_cases import DAY, forged, make_key, payload_of, trust_of

from stillhouse.artifacts import ATTESTATIONS_NAME, open_artifact
from stillhouse.errors import IntegrityError, SignatureError
from stillhouse.provenance import attest, check_attestations, lineage
from stillhouse.records import canonical_json
from stillhouse.signing import (
    Envelope,
    PrivateKey,
    Statement,
    Subject,
    load_private_key,
    sign,
    sign_revocation,
)


class Signed:
    """A signed artefact with its key."""

    def __init__(self, folder: Path) -> None:
        self.key = load_private_key(folder / "keys" / "lab.key")
        self.folder = folder
        self.child = folder / "child"
        self.path = self.child / ATTESTATIONS_NAME
        self.raw = self.path.read_bytes()
        self.lines = self.raw.splitlines()
        self.now = datetime.now(UTC)

    def refused(self, raw: bytes, **parts: Any) -> str:
        """Why the artefact is refused with these bytes beside its manifest."""
        self.path.write_bytes(raw)
        try:
            with pytest.raises(SignatureError) as caught:
                check_attestations(self.child, now=self.now, **parts)
        finally:
            self.path.write_bytes(self.raw)
        return str(caught.value)

    def payload(self, number: int = 0) -> dict[str, Any]:
        return payload_of(Envelope.parse(self.lines[number]))

    def refused_payload(self, data: dict[str, Any], key: PrivateKey | None = None) -> str:
        """Why it is refused with a first statement that the holder of the key signed."""
        envelope = forged(data, key or self.key)
        return self.refused(envelope.to_bytes() + b"\n" + self.lines[1] + b"\n")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """For tests that put every byte back."""
    folder = tmp_path_factory.mktemp("signed")
    (folder / "keys").mkdir()
    start = datetime.now(UTC) - DAY
    key = make_key(folder / "keys", start=start, end=start + 60 * DAY)
    attest(make_chain(folder).path, key, now=datetime.now(UTC))
    return Signed(folder)


@pytest.fixture
def copy(signed: Signed, tmp_path: Path) -> Signed:
    """For tests that change the artefacts."""
    return Signed(shutil.copytree(signed.child.parent, tmp_path / "copy"))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_the_file_is_refused(signed: Signed, data: st.DataObject) -> None:
    raw = bytearray(signed.raw)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    assert signed.refused(bytes(raw))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_that_is_cut_off_or_grew_is_refused(signed: Signed, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(signed.raw)))
    new = data.draw(st.binary(max_size=3))
    lost = data.draw(st.integers(0, 4))
    raw = signed.raw[:place] + new + signed.raw[place + lost :]
    if raw == signed.raw:
        return
    assert signed.refused(raw)


def test_a_line_that_is_missing_or_there_twice_is_refused(signed: Signed) -> None:
    first, second = (line + b"\n" for line in signed.lines)
    assert "a line was taken out or put in" in signed.refused(first)
    assert "a line was taken out or put in" in signed.refused(second)
    assert "holds a line twice" in signed.refused(first + second + first)
    again = sign(
        Statement.parse(Envelope.parse(first[:-1]).payload, where=""),
        signed.key,
        now=signed.now + DAY / 24,
    )
    assert "3 statements of the key lab" in signed.refused(
        first + second + again.to_bytes() + b"\n"
    )


@pytest.mark.parametrize("raw", [b"", b"\n", b"\n\n", b"{}\n", b"null\n", b"\xff\n", b"[]\n"])
def test_files_that_are_none_are_refused(signed: Signed, raw: bytes) -> None:
    assert str(signed.path) in signed.refused(raw)


def test_a_last_line_without_its_end_is_cut_off(signed: Signed) -> None:
    assert "cut off" in signed.refused(signed.raw[:-1])


def test_a_huge_file_is_refused_unread(signed: Signed) -> None:
    with signed.path.open("ab") as stream:
        stream.truncate(1 << 40)
    try:
        with pytest.raises(SignatureError, match="1,099,511,627,776 bytes"):
            check_attestations(signed.child, now=signed.now)
    finally:
        signed.path.write_bytes(signed.raw)


def test_a_linked_file_is_refused(copy: Signed) -> None:
    copy.path.rename(copy.folder / "elsewhere")
    copy.path.symlink_to(copy.folder / "elsewhere")
    with pytest.raises(SignatureError, match="is a link"):
        check_attestations(copy.child, now=copy.now)


def test_a_bundle_of_another_artefact_is_refused(signed: Signed, tmp_path: Path) -> None:
    other = make_artifact(tmp_path / "other")
    (other.path / ATTESTATIONS_NAME).write_bytes(signed.raw)
    with pytest.raises(SignatureError, match=r"signed for something else.*child.*not about other"):
        check_attestations(other.path, now=signed.now)


def test_a_bundle_of_the_parent_is_refused(signed: Signed) -> None:
    parent = signed.child.parent / "left"
    attest(parent, signed.key, now=datetime.now(UTC))
    assert "signed for something else" in signed.refused((parent / ATTESTATIONS_NAME).read_bytes())


def test_an_unknown_predicate_is_named(signed: Signed) -> None:
    data = signed.payload()
    data["predicateType"] = "https://example.org/other/v9"
    assert "'https://example.org/other/v9', which this stillhouse does not know" in (
        signed.refused_payload(data)
    )


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another teacher": (
        lambda p: p.update(
            teachers=[{"id": "x", "provider": "x", "revision": None, "recorded_by": "0" * 64}]
        ),
        "teachers differs",
    ),
    "another code": (lambda p: p["code"].update(version="9"), "code differs"),
    "another usage": (lambda p: p["usage"].update(prompt_tokens=1), "usage differs"),
    "a lineage without a parent": (lambda p: p["lineage"].pop(0), "lineage differs"),
    "a lineage in another order": (lambda p: p["lineage"].reverse(), "lineage differs"),
    "a further field": (lambda p: p.update(note="x"), "breaks the schema.*note"),
    "a missing field": (lambda p: p.pop("usage"), "breaks the schema.*usage"),
    "a schema version": (lambda p: p.update(schema_version=2), "breaks the schema.*schema_version"),
    "a hash in capitals": (
        lambda p: p.update(config_sha256="AB" * 32),
        "breaks the schema.*config_sha256",
    ),
    "a negative number": (
        lambda p: p["usage"].update(prompt_tokens=-1),
        r"breaks the schema.*usage\.prompt_tokens",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_lie_that_is_well_signed_is_found(signed: Signed, name: str) -> None:
    change, message = CHANGES[name]
    data = signed.payload()
    change(data["predicate"])
    assert re.search(message, signed.refused_payload(data))


def test_slsa_provenance_is_compared_too(signed: Signed) -> None:
    data = signed.payload(1)
    data["predicate"]["runDetails"]["metadata"]["finishedOn"] = "2020-01-01T00:00:00Z"
    envelope = forged(data, signed.key)
    text = signed.refused(signed.lines[0] + b"\n" + envelope.to_bytes() + b"\n")
    assert "line 2 says something else than the manifests of the lineage: runDetails" in text


def test_a_signature_older_than_the_artefact_is_refused(signed: Signed) -> None:
    data = signed.payload()
    data["predicate"]["stillhouse_signer"]["signed_utc"] = (
        f"{signed.now - DAY / 2:%Y-%m-%dT%H:%M:%SZ}"
    )
    assert "before the artefact was made" in signed.refused_payload(data)


def test_a_payload_in_another_layout_is_refused(signed: Signed) -> None:
    raw = json.dumps(signed.payload(), indent=1).encode()
    envelope = forged(raw, signed.key)
    text = signed.refused(envelope.to_bytes() + b"\n" + signed.lines[1] + b"\n")
    assert "not byte for byte as stillhouse writes it" in text


def test_a_missing_parent_is_named(copy: Signed) -> None:
    (copy.folder / "left").rename(copy.folder / "gone")
    with pytest.raises(IntegrityError, match=r"left, a parent of .*child, is missing"):
        check_attestations(copy.child, now=copy.now)


def test_a_parent_that_was_made_again_is_named(copy: Signed) -> None:
    edit_manifest(copy.folder / "grandparent", {"config": {"n": 4}})
    with pytest.raises(IntegrityError, match=r"grandparent, a parent of .*, is not the artefact"):
        check_attestations(copy.child, now=copy.now)


def test_a_changed_manifest_is_no_longer_what_was_signed(copy: Signed) -> None:
    edit_manifest(copy.child, {"config": {"n": 4}})
    with pytest.raises(SignatureError, match="signed for something else"):
        check_attestations(copy.child, now=copy.now)


def test_each_failure_of_trust_has_its_message(copy: Signed) -> None:
    key, now = copy.key, copy.now
    eve = make_key(copy.folder / "keys", "eve", start=now - DAY, end=now + DAY)
    cases = {
        "does not have": trust_of(copy.folder, eve),
        "revoked as compromised": trust_of(
            copy.folder,
            key,
            revocations=[sign_revocation(key.public, key, reason="compromised", date=now, now=now)],
        ),
        "revoked as superseded": trust_of(
            copy.folder,
            key,
            revocations=[
                sign_revocation(key.public, key, reason="superseded", date=now - DAY, now=now)
            ],
        ),
    }
    for validity, message in (
        ({"valid_until_utc": now.replace(microsecond=0) - DAY / 4}, "had expired"),
        ({"valid_from_utc": now.replace(microsecond=0) + DAY / 4}, "was not yet valid"),
    ):
        cases[message] = trust_of(
            copy.folder, PrivateKey(key.public.model_copy(update=validity), key._key)
        )
    for message, trust in cases.items():
        with pytest.raises(SignatureError, match=message):
            check_attestations(copy.child, trust, now=now)
    with pytest.raises(SignatureError, match="lies ahead"):
        check_attestations(copy.child, trust_of(copy.folder, key), now=now - DAY)


def test_a_statement_of_another_kind_of_subject_is_refused(signed: Signed) -> None:
    artifact = open_artifact(signed.child)
    statement = Statement(
        subjects=(Subject(name="child", sha256=artifact.manifest_sha256),),
        predicate_type="https://stillhouse.dev/attestation/distillation/v1",
        predicate={},
    )
    envelope = sign(statement, signed.key, now=signed.now)
    text = signed.refused(envelope.to_bytes() + b"\n" + signed.lines[1] + b"\n")
    assert "breaks the schema" in text


def test_a_lineage_that_is_known_already_is_not_read_again(signed: Signed) -> None:
    graph = lineage(signed.child)
    assert len(check_attestations(signed.child, now=signed.now, graph=graph)) == 2


def test_lines_are_envelopes_of_the_specification(signed: Signed) -> None:
    for line in signed.lines:
        data = json.loads(line)
        assert data["payloadType"] == "application/vnd.in-toto+json"
        assert canonical_json(data) == line
        assert len(base64.b64decode(data["signatures"][0]["sig"])) == 64
