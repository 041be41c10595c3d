"""Whose signature counts: trust, time, rotation, revocation; one clear reason for each failure."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_cases import (
    DAY,
    KIND,
    NOW,
    STATEMENT,
    SUBJECT,
    forged,
    make_key,
    payload_of,
    trust_data,
    trust_of,
)

from stillhouse.errors import ConfigError, RecordError, SignatureError
from stillhouse.records import canonical_json
from stillhouse.signing import (
    Envelope,
    PrivateKey,
    Statement,
    Subject,
    Trust,
    check,
    load_trust,
    open_envelope,
    sign,
    sign_revocation,
    sign_rotation,
)

OTHER = Subject(name="other", sha256="cd" * 32)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PrivateKey]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder, name) for name in ("lab", "new", "newer", "eve")}


def checked(envelope: Envelope, trust: Trust, **parts: Any) -> Statement:
    given = {"predicate_type": KIND, "subject": SUBJECT, "now": NOW, **parts}
    return check(envelope, trust, **given)


def refused(envelope: Envelope, trust: Trust, **parts: Any) -> str:
    with pytest.raises(SignatureError) as caught:
        checked(envelope, trust, **parts)
    return str(caught.value)


def test_a_trusted_signature_counts(keys: dict[str, PrivateKey], tmp_path: Path) -> None:
    trust = trust_of(tmp_path, keys["lab"])
    statement = checked(sign(STATEMENT, keys["lab"], now=NOW), trust)
    assert statement.predicate == {"answer": 42}
    renamed = SUBJECT.model_copy(update={"name": "a copy of it"})
    assert checked(sign(STATEMENT, keys["lab"], now=NOW), trust, subject=renamed)
    assert checked(sign(STATEMENT, keys["lab"], now=NOW), trust, subject=None)


def test_a_wrong_key_is_named_with_its_whole_id(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    text = refused(sign(STATEMENT, keys["eve"], now=NOW), trust_of(tmp_path, keys["lab"]))
    assert f"'eve' ({keys['eve'].key_id}), a key that the trust file does not have" in text


def test_a_key_of_a_trusted_name_is_still_another(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    impostor = make_key(tmp_path, "lab")
    text = refused(sign(STATEMENT, impostor, now=NOW), trust_of(tmp_path, keys["lab"]))
    assert "does not have" in text


def test_a_trusted_key_may_not_sign_in_the_name_of_another(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab = keys["lab"]
    claimed = PrivateKey(lab.public.model_copy(update={"name": "OpenAI"}), lab._key)
    text = refused(sign(STATEMENT, claimed, now=NOW), trust_of(tmp_path, lab))
    assert "calls itself 'OpenAI' and that the trust file knows as 'lab'" in text


def test_a_replayed_statement_is_refused(keys: dict[str, PrivateKey], tmp_path: Path) -> None:
    trust = trust_of(tmp_path, keys["lab"])
    text = refused(sign(STATEMENT, keys["lab"], now=NOW), trust, subject=OTHER)
    assert "signed for something else" in text
    assert "student (abababababab), not about other (cdcdcdcdcdcd)" in text


def test_another_type_of_statement_is_refused(keys: dict[str, PrivateKey], tmp_path: Path) -> None:
    trust = trust_of(tmp_path, keys["lab"])
    text = refused(sign(STATEMENT, keys["lab"], now=NOW), trust, predicate_type="https://x/v2")
    assert "'https://example.org/statement/v1'; https://x/v2 is needed" in text


def test_a_key_may_be_trusted_with_some_statements_only(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    envelope = sign(STATEMENT, keys["lab"], now=NOW)
    assert checked(envelope, trust_of(tmp_path, keys["lab"], predicates={"lab": [KIND]}))
    trust = trust_of(tmp_path, keys["lab"], predicates={"lab": ["https://x/v2"]})
    assert "not trusted with statements of the type" in refused(envelope, trust)


def test_the_trust_file_s_validity_counts_and_not_the_signer_s(tmp_path: Path) -> None:
    lab = make_key(tmp_path)
    trust = trust_of(tmp_path, lab)
    # The holder of the key writes a longer validity into the record, and signs with it.
    longer = lab.public.model_copy(
        update={"valid_from_utc": NOW - 999 * DAY, "valid_until_utc": NOW + 999 * DAY}
    )
    claimed = PrivateKey(longer, lab._key)
    late = sign(STATEMENT, claimed, now=NOW + 31 * DAY)
    early = sign(STATEMENT, claimed, now=NOW - 31 * DAY)
    assert "had expired when it signed" in refused(late, trust, now=NOW + 40 * DAY)
    assert "was not yet valid when it signed" in refused(early, trust)


def test_what_was_signed_in_time_counts_after_the_key_expired(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    trust = trust_of(tmp_path, keys["lab"])
    assert checked(sign(STATEMENT, keys["lab"], now=NOW), trust, now=NOW + 9000 * DAY)


def test_a_signature_from_the_future_is_refused(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    trust = trust_of(tmp_path, keys["lab"])
    envelope = sign(STATEMENT, keys["lab"], now=NOW)
    assert "lies ahead" in refused(envelope, trust, now=NOW - DAY / 24)
    assert checked(envelope, trust, now=NOW - DAY / 24 / 60)  # clocks differ by a minute


def test_what_a_superseded_key_signed_before_still_counts(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab = keys["lab"]
    revocation = sign_revocation(
        lab.public, lab, reason="superseded", date=NOW, now=NOW, why="a new machine"
    )
    trust = trust_of(tmp_path, lab, revocations=[revocation])
    assert checked(sign(STATEMENT, lab, now=NOW - DAY), trust)
    text = refused(sign(STATEMENT, lab, now=NOW + DAY), trust, now=NOW + DAY)
    assert "revoked as superseded on 2026-11-29: a new machine" in text


def test_nothing_that_a_compromised_key_signed_counts(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab = keys["lab"]
    revocation = sign_revocation(
        lab.public, lab, reason="compromised", date=NOW + DAY, now=NOW, why="stolen"
    )
    trust = trust_of(tmp_path, lab, revocations=[revocation])
    text = refused(sign(STATEMENT, lab, now=NOW - 20 * DAY), trust)
    assert "revoked as compromised on 2026-11-30: stolen (nothing that it signed counts" in text


def test_of_several_revocations_the_strictest_counts(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab = keys["lab"]

    def revoked(reason: Any, days: int) -> Envelope:
        return sign_revocation(lab.public, lab, reason=reason, date=NOW + days * DAY, now=NOW)

    early, late, worst = (
        revoked("superseded", -5),
        revoked("superseded", 5),
        revoked("compromised", 20),
    )
    signed = sign(STATEMENT, lab, now=NOW - DAY)
    assert checked(signed, trust_of(tmp_path, lab, revocations=[late]))
    for order in ([late, early], [early, late]):
        assert "superseded on 2026-11-24" in refused(
            signed, trust_of(tmp_path, lab, revocations=order)
        )
    assert "compromised" in refused(
        sign(STATEMENT, lab, now=NOW - 10 * DAY), trust_of(tmp_path, lab, revocations=[late, worst])
    )


def test_only_the_key_its_successor_or_an_appointed_one_may_revoke(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab, new, eve = keys["lab"], keys["new"], keys["eve"]
    by_eve = sign_revocation(lab.public, eve, reason="compromised", date=NOW, now=NOW)
    for trusted in ([lab], [lab, eve]):
        with pytest.raises(SignatureError, match="is signed by eve, which is neither"):
            trust_of(tmp_path, *trusted, revocations=[by_eve])
    appointed = trust_of(tmp_path, lab, eve, revocations=[by_eve], may_revoke=["eve"])
    assert "compromised" in refused(sign(STATEMENT, lab, now=NOW), appointed)
    rotation = sign_rotation(lab, new.public, now=NOW)
    by_new = sign_revocation(lab.public, new, reason="superseded", date=NOW, now=NOW)
    trust = trust_of(tmp_path, lab, rotations=[rotation], revocations=[by_new])
    assert checked(sign(STATEMENT, new, now=NOW), trust)


def test_a_chain_of_rotations_is_trusted_from_its_first_key(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab, new, newer = keys["lab"], keys["new"], keys["newer"]
    chain = [
        sign_rotation(new, newer.public, now=NOW + 2 * DAY),
        sign_rotation(lab, new.public, now=NOW),
    ]
    trust = trust_of(tmp_path, lab, rotations=chain)
    later = NOW + 5 * DAY
    assert checked(sign(STATEMENT, newer, now=later), trust, now=later)
    assert checked(sign(STATEMENT, new, now=NOW + DAY), trust, now=later)
    assert checked(sign(STATEMENT, lab, now=NOW - DAY), trust, now=later)
    assert "superseded on 2026-11-29: rotated to new" in refused(
        sign(STATEMENT, lab, now=NOW + DAY), trust, now=later
    )


def test_a_successor_may_sign_what_the_first_might(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    rotation = sign_rotation(keys["lab"], keys["new"].public, now=NOW)
    trust = trust_of(
        tmp_path, keys["lab"], rotations=[rotation], predicates={"lab": ["https://x/v2"]}
    )
    assert "not trusted with" in refused(sign(STATEMENT, keys["new"], now=NOW), trust)


def test_a_rotation_by_a_stranger_is_refused(keys: dict[str, PrivateKey], tmp_path: Path) -> None:
    rotation = sign_rotation(keys["eve"], keys["new"].public, now=NOW)
    with pytest.raises(SignatureError, match=r"signed by keys that are not trusted \(eve\)"):
        trust_of(tmp_path, keys["lab"], rotations=[rotation])


def test_rotations_in_a_circle_are_refused(keys: dict[str, PrivateKey], tmp_path: Path) -> None:
    new, newer = keys["new"], keys["newer"]
    circle = [sign_rotation(new, newer.public, now=NOW), sign_rotation(newer, new.public, now=NOW)]
    with pytest.raises(SignatureError, match=r"not trusted \(new, newer\)"):
        trust_of(tmp_path, keys["lab"], rotations=circle)


def test_a_thief_s_rotation_does_not_count(keys: dict[str, PrivateKey], tmp_path: Path) -> None:
    lab, eve = keys["lab"], keys["eve"]
    stolen = sign_rotation(lab, eve.public, now=NOW - 5 * DAY)
    revocation = sign_revocation(lab.public, lab, reason="compromised", date=NOW, now=NOW)
    trust = trust_of(tmp_path, lab, rotations=[stolen], revocations=[revocation])
    text = refused(sign(STATEMENT, eve, now=NOW), trust)
    assert "to which a rotation leads that does not count" in text
    assert "compromised" in text


def test_what_comes_after_a_thief_s_rotation_does_not_count_either(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab, eve, newer = keys["lab"], keys["eve"], keys["newer"]
    chain = [
        sign_rotation(lab, eve.public, now=NOW - 5 * DAY),
        sign_rotation(eve, newer.public, now=NOW - 4 * DAY),
    ]
    revocation = sign_revocation(lab.public, lab, reason="compromised", date=NOW, now=NOW)
    trust = trust_of(tmp_path, lab, rotations=chain, revocations=[revocation])
    assert "does not count" in refused(sign(STATEMENT, newer, now=NOW), trust)
    by_itself = trust_of(tmp_path, lab, newer, rotations=chain, revocations=[revocation])
    assert checked(sign(STATEMENT, newer, now=NOW), by_itself)


def test_a_key_that_is_trusted_by_itself_may_name_its_successor(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab, new, newer = keys["lab"], keys["new"], keys["newer"]
    chain = [
        sign_rotation(lab, new.public, now=NOW - 5 * DAY),
        sign_rotation(new, newer.public, now=NOW - 4 * DAY),
    ]
    revocation = sign_revocation(lab.public, lab, reason="compromised", date=NOW, now=NOW)
    for order in (chain, chain[::-1]):
        trust = trust_of(tmp_path, lab, new, rotations=order, revocations=[revocation])
        assert checked(sign(STATEMENT, newer, now=NOW), trust)
        assert trust.not_followed == {}


def test_of_two_rotations_to_a_key_one_that_counts_is_enough(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab, eve, new, newer = (keys[name] for name in ("lab", "eve", "new", "newer"))
    rotations = [
        sign_rotation(lab, new.public, now=NOW - 5 * DAY),
        sign_rotation(new, newer.public, now=NOW - 4 * DAY),
        sign_rotation(eve, new.public, now=NOW - 3 * DAY),
    ]
    revocation = sign_revocation(lab.public, lab, reason="compromised", date=NOW, now=NOW)
    trust = trust_of(tmp_path, lab, eve, rotations=rotations, revocations=[revocation])
    assert checked(sign(STATEMENT, new, now=NOW - 5 * DAY), trust)
    assert checked(sign(STATEMENT, newer, now=NOW), trust)


def test_a_key_has_one_successor(keys: dict[str, PrivateKey], tmp_path: Path) -> None:
    lab = keys["lab"]
    twice = [
        sign_rotation(lab, keys["new"].public, now=NOW),
        sign_rotation(lab, keys["newer"].public, now=NOW + DAY),
    ]
    trust = trust_of(tmp_path, lab, rotations=twice)
    assert checked(sign(STATEMENT, keys["new"], now=NOW), trust)
    assert "superseded" in refused(sign(STATEMENT, keys["newer"], now=NOW), trust)


def test_a_rotation_about_another_key_than_its_subject_is_refused(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab = keys["lab"]
    data = payload_of(sign_rotation(lab, keys["new"].public, now=NOW))
    data["subject"][0]["digest"]["sha256"] = keys["eve"].key_id
    with pytest.raises(SignatureError, match="another key than its subject"):
        trust_of(tmp_path, lab, rotations=[forged(data, lab)])


def test_a_rotation_in_the_place_of_a_revocation_is_refused(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    rotation = sign_rotation(keys["lab"], keys["new"].public, now=NOW)
    with pytest.raises(SignatureError, match="key-revocation/v1 is needed there"):
        trust_of(tmp_path, keys["lab"], revocations=[rotation])


def test_a_changed_revocation_is_refused(keys: dict[str, PrivateKey], tmp_path: Path) -> None:
    lab = keys["lab"]
    data = trust_data(
        lab,
        revocations=[sign_revocation(lab.public, lab, reason="compromised", date=NOW, now=NOW)],
    )
    (envelope,) = data["revocations"]
    envelope["payload"] = sign(STATEMENT, lab, now=NOW).to_bytes().decode()[12:40]
    (tmp_path / "trust.json").write_text(json.dumps(data))
    with pytest.raises(SignatureError, match="revocations 0"):
        load_trust(tmp_path / "trust.json")


def test_a_trust_file_may_be_yaml_that_names_files(
    keys: dict[str, PrivateKey], tmp_path: Path
) -> None:
    lab, new = keys["lab"], keys["new"]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "lab.pub").write_bytes(lab.public.to_bytes())
    rotation = sign_rotation(lab, new.public, now=NOW)
    (tmp_path / "keys" / "new.rotation").write_bytes(rotation.to_bytes() + b"\n")
    (tmp_path / "trust.yaml").write_text(
        "schema_version: 1\n"
        "keys:\n- key: keys/lab.pub\n"
        "rotations: [keys/new.rotation]\n"
        "require:\n- kinds: [student]\n  signed_by: [new]\n"
    )
    trust = load_trust(tmp_path / "trust.yaml")
    assert set(trust.keys) == {lab.key_id, new.key_id}
    assert trust.require[0].signed_by == ("new",)


BAD_FILES = {
    "keys: []": "schema_version",
    "schema_version: 2\nkeys: []": "schema_version",
    "schema_version: 1\nkeys: []": "keys",
    "schema_version: 1\nkeys: []\nkeys: []": "given twice",
    "schema_version: 1\nkeys: [{key: none.pub}]": "none.pub cannot be read",
    "schema_version: 1\nkeys: [{key: lab.pub}, {key: lab.pub}]": "gives a key twice",
    "schema_version: 1\nkeys: [{key: lab.pub}, {key: twin.pub}]": "two keys are called",
    "schema_version: 1\nkeys: [{key: lab.pub}]\nkyes: 1": "kyes",
    "schema_version: 1\nkeys: [{key: lab.pub, may: all}]": "may",
    "schema_version: 1\nkeys: [{key: lab.pub}]\nrequire: [{kinds: [student], signed_by: [bob]}]": (
        "signer 'bob', which is not among its keys"
    ),
    "schema_version: 1\nkeys: [{key: lab.pub}]\nrequire: [{kinds: [], signed_by: [lab]}]": "kinds",
    "[]": "no trust file",
    "": "no trust file",
    "a: [": "trust.yaml",
    "keys: lab.pub\nschema_version: 1": "keys",
    "schema_version: 1\nkeys: [{key: lab.pub}]\nrotations: [1]": "rotations",
    "schema_version: 1\nkeys: [{key: lab.pub}]\nrotations: [{}]": "rotations 0",
    "schema_version: 1\nkeys: [{key: lab.pub}]\nrotations: lab.pub": "rotations",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_wrong_trust_file_is_refused_in_one_line(
    keys: dict[str, PrivateKey], tmp_path: Path, text: str
) -> None:
    twin = make_key(tmp_path, "Lab")
    (tmp_path / "lab.pub").write_bytes(keys["lab"].public.to_bytes())
    (tmp_path / "twin.pub").write_bytes(twin.public.to_bytes())
    (tmp_path / "trust.yaml").write_text(text)
    with pytest.raises((ConfigError, SignatureError)) as caught:
        load_trust(tmp_path / "trust.yaml")
    assert BAD_FILES[text] in str(caught.value)


def test_a_trust_file_that_is_a_link_or_huge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (2 << 20))
    (tmp_path / "link.yaml").symlink_to(tmp_path / "big.yaml")
    with pytest.raises(ConfigError, match="at most 1,048,576"):
        load_trust(tmp_path / "big.yaml")
    with pytest.raises(ConfigError, match="symbolic link"):
        load_trust(tmp_path / "link.yaml")


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within JSON data."""
    inner: Any = ()
    if isinstance(data, dict | list):
        inner = data.items() if isinstance(data, dict) else enumerate(data)
    below = [found for key, value in inner for found in places(value, (*path, key))]
    return [path, *below] if path else below


def with_other(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of JSON data with another value at `path`."""
    copy = json.loads(json.dumps(data))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@settings(max_examples=80, deadline=None)
@given(data=st.data(), value=_json)
def test_any_value_anywhere_in_a_trust_file_is_taken_or_refused(
    keys: dict[str, PrivateKey],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    value: Any,
) -> None:
    lab = keys["lab"]
    whole = trust_data(
        lab,
        rotations=[sign_rotation(lab, keys["new"].public, now=NOW)],
        revocations=[sign_revocation(lab.public, lab, reason="superseded", date=NOW, now=NOW)],
        require=[{"kinds": ["student"], "signed_by": ["lab"]}],
    )
    changed = with_other(whole, data.draw(st.sampled_from(places(whole))), value)
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_text(json.dumps(changed))
    with contextlib.suppress(ConfigError, SignatureError):
        assert isinstance(load_trust(path), Trust)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), value=_json)
def test_any_value_anywhere_in_a_signed_payload_is_refused(
    keys: dict[str, PrivateKey], data: st.DataObject, value: Any
) -> None:
    lab = keys["lab"]
    whole = payload_of(sign_rotation(lab, keys["new"].public, now=NOW))
    changed = with_other(whole, data.draw(st.sampled_from(places(whole))), value)
    if canonical_of(changed) in (None, canonical_of(whole)):
        return
    envelope = forged(changed, lab)
    try:
        statement = open_envelope(Envelope.parse(envelope.to_bytes()))
    except SignatureError:
        return
    # Well signed, and of a form that can be: then it says just what was signed.
    assert json.loads(statement.to_bytes()) == json.loads(envelope.payload)


def canonical_of(data: Any) -> bytes | None:
    try:
        return canonical_json(data)
    except RecordError:
        return None


@settings(max_examples=60, deadline=None)
@given(
    signed=st.integers(-40, 40),
    superseded=st.none() | st.integers(-40, 40),
    compromised=st.booleans(),
    now=st.integers(-40, 60),
)
def test_a_signature_counts_exactly_when_all_conditions_hold(
    keys: dict[str, PrivateKey],
    tmp_path_factory: pytest.TempPathFactory,
    signed: int,
    superseded: int | None,
    compromised: bool,
    now: int,
) -> None:
    lab = keys["lab"]  # valid from day -30 to day 30
    claimed = PrivateKey(
        lab.public.model_copy(
            update={"valid_from_utc": NOW - 99 * DAY, "valid_until_utc": NOW + 99 * DAY}
        ),
        lab._key,
    )
    revocations = []
    if superseded is not None:
        date = NOW + superseded * DAY
        revocations.append(
            sign_revocation(lab.public, lab, reason="superseded", date=date, now=NOW)
        )
    if compromised:
        revocations.append(
            sign_revocation(lab.public, lab, reason="compromised", date=NOW, now=NOW)
        )
    folder = tmp_path_factory.mktemp("trust")
    trust = trust_of(folder, lab, revocations=revocations)
    envelope = sign(STATEMENT, claimed, now=NOW + signed * DAY)
    counts = (
        -30 <= signed <= 30
        and signed <= now
        and not compromised
        and (superseded is None or signed <= superseded)
    )
    if counts:
        assert checked(envelope, trust, now=NOW + now * DAY)
    else:
        assert refused(envelope, trust, now=NOW + now * DAY)
