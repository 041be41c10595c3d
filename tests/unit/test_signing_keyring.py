"""A folder of keys: made, rotated, revoked, and turned into a file of trust."""

import json
import os
import stat
from pathlib import Path

import pytest
from signing_cases import DAY, KIND, NOW, STATEMENT

from stillhouse.errors import ConfigError, SignatureError
from stillhouse.signing import (
    Keyring,
    Trust,
    check,
    default_key_folder,
    load_trust,
    public_path,
    sign,
)


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    made = Keyring(tmp_path / "keys")
    made.create("lab", now=NOW - 10 * DAY, valid_days=100)
    return made


def trust_from(ring: Keyring, *names: str) -> Trust:
    path = ring.folder.parent / "trust.json"
    path.write_text(json.dumps(ring.trust_document(names)))
    return load_trust(path)


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_is_its_owner_s_alone(ring: Keyring) -> None:
    assert stat.S_IMODE(ring.folder.stat().st_mode) == 0o700
    assert ring.private("lab").public == ring.public("lab")


@pytest.mark.parametrize("name", ["lab", "LAB", "l\u0430b", "../lab", "a/b", ""])
def test_a_name_that_is_taken_or_no_name_makes_nothing(ring: Keyring, name: str) -> None:
    before = listing(ring.folder)
    with pytest.raises(ConfigError):
        ring.create(name, now=NOW, valid_days=1)
    assert listing(ring.folder) == before


@pytest.mark.parametrize("name", ["none", "../lab", "", "LAB", "*"])
def test_a_key_that_is_not_there_is_named_with_those_that_are(ring: Keyring, name: str) -> None:
    with pytest.raises(ConfigError, match=r"no key called .*it has: lab"):
        ring.private(name)


def test_a_key_in_the_file_of_another_is_refused(ring: Keyring) -> None:
    (ring.folder / "bob.key.pub").write_bytes((ring.folder / "lab.key.pub").read_bytes())
    with pytest.raises(ConfigError, match="record of the key lab"):
        ring.public("bob")


def test_of_others_there_is_the_record_alone(ring: Keyring, tmp_path: Path) -> None:
    other = Keyring(tmp_path / "theirs")
    other.create("ann", now=NOW, valid_days=9)
    path = ring.folder / "ann.key"
    public_path(path).write_bytes((other.folder / "ann.key.pub").read_bytes())
    assert [one.is_private for one in ring.standings()] == [False, True]
    with pytest.raises(ConfigError, match="only the public record of ann"):
        ring.private("ann")


def test_a_rotation_carries_trust_to_the_next_key_and_ends_the_first(ring: Keyring) -> None:
    old = sign(STATEMENT, ring.private("lab"), now=NOW - DAY)
    new = ring.rotate("lab", "lab 2027", now=NOW, valid_days=100)
    assert new.replaces == ring.public("lab").key_id
    trust = trust_from(ring, "lab")
    for envelope in (old, sign(STATEMENT, ring.private("lab 2027"), now=NOW + DAY)):
        assert check(envelope, trust, predicate_type=KIND, subject=None, now=NOW + DAY)
    late = sign(STATEMENT, ring.private("lab"), now=NOW + DAY)
    with pytest.raises(SignatureError, match="rotated to lab 2027"):
        check(late, trust, predicate_type=KIND, subject=None, now=NOW + DAY)
    assert [one.rotated_to for one in ring.standings()] == ["lab 2027", None]


def test_a_key_is_rotated_once_and_in_time(ring: Keyring) -> None:
    before = listing(ring.folder)
    with pytest.raises(ConfigError, match="can name no successor"):
        ring.rotate("lab", "next", now=NOW + 91 * DAY, valid_days=9)
    with pytest.raises(ConfigError, match="is no name for a key"):
        ring.rotate("lab", "a/b", now=NOW, valid_days=9)
    assert listing(ring.folder) == before
    ring.rotate("lab", "next", now=NOW, valid_days=9)
    with pytest.raises(ConfigError, match="was rotated to next"):
        ring.rotate("lab", "third", now=NOW, valid_days=9)


def test_a_revoked_key_cannot_be_rotated(ring: Keyring) -> None:
    ring.revoke("lab", by=None, reason="superseded", date=NOW, now=NOW)
    with pytest.raises(ConfigError, match="was revoked"):
        ring.rotate("lab", "next", now=NOW, valid_days=9)


def test_a_compromised_key_s_successor_must_be_trusted_by_itself(ring: Keyring) -> None:
    ring.rotate("lab", "next", now=NOW, valid_days=50)
    revocation = ring.revoke("lab", by="next", reason="compromised", date=NOW, now=NOW, why="lost")
    assert revocation.why == "lost"
    assert ring.standings()[0].revocation == revocation
    with pytest.raises(ConfigError, match=r"Trust its successor by itself.* keys trust next"):
        ring.trust_document(["lab"])
    new, old = (sign(STATEMENT, ring.private(name), now=NOW) for name in ("next", "lab"))
    trust = trust_from(ring, "next")
    assert check(new, trust, predicate_type=KIND, subject=None, now=NOW)
    with pytest.raises(SignatureError, match="does not have"):
        check(old, trust, predicate_type=KIND, subject=None, now=NOW)


def test_a_compromised_key_within_a_chain_ends_it(ring: Keyring) -> None:
    ring.rotate("lab", "next", now=NOW, valid_days=50)
    ring.rotate("next", "third", now=NOW + DAY, valid_days=50)
    ring.revoke("next", by="third", reason="compromised", date=NOW, now=NOW + 2 * DAY)
    trust = trust_from(ring, "lab")
    old = sign(STATEMENT, ring.private("lab"), now=NOW - DAY)
    assert check(old, trust, predicate_type=KIND, subject=None, now=NOW)
    for name in ("next", "third"):
        signed = sign(STATEMENT, ring.private(name), now=NOW + DAY)
        with pytest.raises(SignatureError, match="compromised"):
            check(signed, trust, predicate_type=KIND, subject=None, now=NOW + DAY)


def test_a_successor_may_end_a_key_but_not_undo_its_own_rotation(ring: Keyring) -> None:
    ring.rotate("lab", "next", now=NOW, valid_days=50)
    before = listing(ring.folder)
    with pytest.raises(ConfigError, match="would undo"):
        ring.revoke("lab", by="next", reason="superseded", date=NOW - DAY, now=NOW)
    assert listing(ring.folder) == before
    ring.revoke("lab", by="next", reason="superseded", date=NOW, now=NOW)
    trust = trust_from(ring, "lab")
    signed = sign(STATEMENT, ring.private("next"), now=NOW)
    assert check(signed, trust, predicate_type=KIND, subject=None, now=NOW)


def test_a_third_key_s_revocation_goes_with_leave_for_that_key(ring: Keyring) -> None:
    ring.create("root", now=NOW - DAY, valid_days=50)
    ring.revoke("lab", by="root", reason="superseded", date=NOW - DAY, now=NOW)
    with pytest.raises(ConfigError, match=r"revoked by root.*keys trust \.\.\. root"):
        ring.trust_document(["lab"])
    trust = trust_from(ring, "lab", "root")
    assert {one.key.name: one.may_revoke for one in trust.keys.values()} == {
        "lab": False,
        "root": True,
    }
    late = sign(STATEMENT, ring.private("lab"), now=NOW)
    with pytest.raises(SignatureError, match="superseded"):
        check(late, trust, predicate_type=KIND, subject=None, now=NOW)


def test_a_damaged_list_of_revocations_is_refused(ring: Keyring) -> None:
    ring.revoke("lab", by=None, reason="superseded", date=NOW, now=NOW)
    path = ring.folder / "revocations.jsonl"
    raw = path.read_bytes()
    for changed in (raw[:-1], raw[:-9] + b"\n", raw.replace(b'"sig":"', b'"sig":"A'), b""):
        path.write_bytes(changed)
        with pytest.raises(SignatureError, match=r"revocations\.jsonl"):
            ring.standings()


def test_the_folder_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STILLHOUSE_KEYS", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_key_folder() == tmp_path / ".config" / "stillhouse" / "keys"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert default_key_folder() == tmp_path / "x" / "stillhouse" / "keys"
    monkeypatch.setenv("STILLHOUSE_KEYS", str(tmp_path / "k"))
    assert default_key_folder() == tmp_path / "k"


def test_no_temporary_file_stays(ring: Keyring) -> None:
    ring.rotate("lab", "next", now=NOW, valid_days=9)
    ring.revoke("lab", by=None, reason="superseded", date=NOW, now=NOW)
    assert sorted(os.listdir(ring.folder)) == [
        *("lab.key", "lab.key.pub", "next.key", "next.key.pub"),
        *("revocations.jsonl", "rotations.jsonl"),
    ]
