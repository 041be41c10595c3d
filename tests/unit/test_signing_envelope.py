"""Envelopes: the specification's vectors, another implementation, and every way to be damaged."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_cases import (
    DAY,
    KIND,
    NOW,
    STATEMENT,
    encoded,
    envelope_data,
    forged,
    make_key,
    payload_of,
)

from stillhouse.errors import ConfigError, RecordError, SignatureError
from stillhouse.records import canonical_json
from stillhouse.signing import (
    PAYLOAD_TYPE,
    Envelope,
    PrivateKey,
    Statement,
    Subject,
    open_envelope,
    pae,
    read_envelope,
    sign,
    signer_of,
)

L = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def envelope(key: PrivateKey) -> Envelope:
    return sign(STATEMENT, key, now=NOW)


def test_the_encoding_is_that_of_the_specification() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, test vectors
    signed = pae("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    public = ec.EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        ec.SECP256R1(),
    ).public_key()
    raw = base64.b64decode(
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )
    r, s = (int.from_bytes(half) for half in (raw[:32], raw[32:]))
    public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [("", b"", b"DSSEv1 0  0 "), ("\u00e9", b"\x00\xff", b"DSSEv1 2 \xc3\xa9 2 \x00\xff")],
)
def test_lengths_are_in_bytes(kind: str, payload: bytes, expected: bytes) -> None:
    assert pae(kind, payload) == expected


def test_another_implementation_accepts_what_we_sign(key: PrivateKey, envelope: Envelope) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse")
    signer = pytest.importorskip("securesystemslib.signer")
    raw = base64.b64decode("".join(key.public.pem.splitlines()[1:-1]))[-32:]
    theirs = signer.SSlibKey(key.key_id, "ed25519", "ed25519", {"public": raw.hex()})
    found = dsse.Envelope.from_dict(envelope_data(envelope))
    assert found.pae() == pae(PAYLOAD_TYPE, envelope.payload)
    assert found.verify([theirs], 1)
    changed = envelope_data(envelope)
    changed["payload"] = encoded(envelope.payload.replace(b"42", b"43"))
    with pytest.raises(Exception, match="Accepted signatures do not match threshold"):
        dsse.Envelope.from_dict(changed).verify([theirs], 1)


def test_a_statement_comes_back_with_signer_and_time(key: PrivateKey, envelope: Envelope) -> None:
    statement = open_envelope(Envelope.parse(envelope.to_bytes()))
    assert statement.model_copy(update={"signer": None}) == STATEMENT
    assert signer_of(statement).key == key.public
    assert signer_of(statement).signed_utc == NOW
    assert payload_of(envelope)["_type"] == "https://in-toto.io/Statement/v1"
    assert payload_of(envelope)["subject"] == [{"name": "student", "digest": {"sha256": "ab" * 32}}]


def test_one_statement_has_one_sequence_of_bytes(key: PrivateKey, envelope: Envelope) -> None:
    assert sign(STATEMENT, key, now=NOW).to_bytes() == envelope.to_bytes()
    assert b"\n" not in envelope.to_bytes()


@pytest.mark.parametrize("days", [-31, 31, -4000])
def test_nothing_is_signed_outside_the_key_s_validity(key: PrivateKey, days: int) -> None:
    with pytest.raises(ConfigError, match="clock says"):
        sign(STATEMENT, key, now=NOW + days * DAY)


def test_a_statement_that_nobody_could_read_back_is_not_signed(key: PrivateKey) -> None:
    with pytest.raises(SignatureError, match="bytes; at most"):
        sign(STATEMENT.model_copy(update={"predicate": {"a": "x" * 5_000_000}}), key, now=NOW)
    with pytest.raises(RecordError):
        sign(STATEMENT.model_copy(update={"predicate": {"a": 2**64}}), key, now=NOW)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_changed_byte_is_found(envelope: Envelope, data: st.DataObject) -> None:
    raw = bytearray(envelope.to_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureError):
        open_envelope(Envelope.parse(bytes(raw)))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_inserted_or_lost_byte_is_found(envelope: Envelope, data: st.DataObject) -> None:
    raw = envelope.to_bytes()
    place = data.draw(st.integers(0, len(raw) - 1))
    new = data.draw(st.binary(max_size=2))
    changed = raw[:place] + new + raw[place + data.draw(st.integers(0, 3)) :]
    if changed == raw:
        return
    with pytest.raises(SignatureError):
        open_envelope(Envelope.parse(changed))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(SignatureError):
        Envelope.parse(raw)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("payload", "payloadType", "signatures", "x"), _json)
    )
)
def test_json_of_other_shapes_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        Envelope.parse(canonical_json(data))


def _respaced(text: str) -> str:
    return f"{text[:8]}\n{text[8:]}"


def _url_safe(text: str) -> str:
    return base64.urlsafe_b64encode(b"\xff\xff" + base64.b64decode(text)).decode()


CHANGES = {
    "base64 with whitespace": lambda d: d.update(payload=_respaced(d["payload"])),
    "base64 that is URL-safe": lambda d: d.update(payload=_url_safe(d["payload"])),
    "base64 without padding": lambda d: d["signatures"][0].update(
        sig=d["signatures"][0]["sig"].rstrip("=")
    ),
    "base64 with loose last bits": lambda d: d["signatures"][0].update(
        sig=d["signatures"][0]["sig"][:-3] + "B=="
    ),
    "another payload type": lambda d: d.update(payloadType="application/json"),
    "no signature": lambda d: d.update(signatures=[]),
    "two signatures": lambda d: d.update(signatures=d["signatures"] * 2),
    "a further field": lambda d: d.update(note="x"),
    "a further field beside the signature": lambda d: d["signatures"][0].update(cert="x"),
    "a key id of another key": lambda d: d["signatures"][0].update(keyid="0" * 64),
    "a key id that is a number": lambda d: d["signatures"][0].update(keyid=1),
    "an empty signature": lambda d: d["signatures"][0].update(sig=""),
    "a payload that is a list": lambda d: d.update(payload=[1]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_envelopes_of_another_form_are_refused(envelope: Envelope, name: str) -> None:
    data = envelope_data(envelope)
    CHANGES[name](data)
    with pytest.raises(SignatureError):
        open_envelope(Envelope.parse(canonical_json(data)))


@pytest.mark.parametrize("how", ["spaces", "twice", "order", "newline", "BOM"])
def test_layouts_of_another_form_are_refused(envelope: Envelope, how: str) -> None:
    data, raw = envelope_data(envelope), envelope.to_bytes()
    changed = {
        "spaces": json.dumps(data).encode(),
        "twice": b'{"payload":"AAAA",' + raw[1:],
        "order": json.dumps(dict(reversed(data.items())), separators=(",", ":")).encode(),
        "newline": raw + b"\n",
        "BOM": b"\xef\xbb\xbf" + raw,
    }[how]
    with pytest.raises(SignatureError, match=r"byte for byte|no JSON"):
        Envelope.parse(changed)


def test_an_envelope_of_10_mb_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="10,485,760 bytes; at most"):
        Envelope.parse(b"x" * (10 << 20))
    (tmp_path / "big.json").write_bytes(b"x" * (10 << 20))
    with pytest.raises(ConfigError, match="10,485,760 bytes; at most"):
        read_envelope(tmp_path / "big.json")


def test_deep_nesting_is_refused(key: PrivateKey) -> None:
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    for raw in (deep, b"[" * 100_000):
        with pytest.raises(SignatureError):
            Envelope.parse(raw)
    with pytest.raises(SignatureError):
        open_envelope(forged(deep, key))


def test_a_signature_has_one_form(key: PrivateKey, envelope: Envelope) -> None:
    # S + L verifies in sloppy implementations: a second signature of the same text.
    r, s = envelope.signature[:32], int.from_bytes(envelope.signature[32:], "little")
    assert s < L
    twin = Envelope(envelope.payload, envelope.key_id, r + (s + L).to_bytes(32, "little"))
    with pytest.raises(SignatureError, match="has changed since it was signed"):
        open_envelope(Envelope.parse(twin.to_bytes()))


def test_a_key_may_not_pass_for_another(tmp_path: Path, envelope: Envelope) -> None:
    eve = make_key(tmp_path, "eve")
    with pytest.raises(SignatureError, match="put together from two"):
        open_envelope(forged(envelope.payload, eve))
    with pytest.raises(SignatureError, match="does not fit"):
        open_envelope(forged(envelope.payload, eve, key_id=envelope.key_id))


STATEMENTS = {
    "another _type": lambda d: d.update(_type="https://in-toto.io/Statement/v0.1"),
    "no subject": lambda d: d.update(subject=[]),
    "a subject without digest": lambda d: d.update(subject=[{"name": "x"}]),
    "a subject with two digests": lambda d: d["subject"][0]["digest"].update(sha512="00"),
    "a subject with another field": lambda d: d["subject"][0].update(uri="x"),
    "a digest in capitals": lambda d: d["subject"][0]["digest"].update(sha256="AB" * 32),
    "a further field": lambda d: d.update(extra=1),
    "a predicate that is a list": lambda d: d.update(predicate=[]),
    "no signer": lambda d: d["predicate"].pop("stillhouse_signer"),
    "a signer with another field": lambda d: d["predicate"]["stillhouse_signer"].update(x=1),
    "a time in another form": lambda d: d["predicate"]["stillhouse_signer"].update(
        signed_utc="2026-11-29T13:00:00+01:00"
    ),
    "a time without zone": lambda d: d["predicate"]["stillhouse_signer"].update(
        signed_utc="2026-11-29T12:00:00"
    ),
    "a time as a number": lambda d: d["predicate"]["stillhouse_signer"].update(signed_utc=1),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_payloads_of_another_form_are_refused_though_well_signed(
    key: PrivateKey, envelope: Envelope, name: str
) -> None:
    data = payload_of(envelope)
    STATEMENTS[name](data)
    with pytest.raises(SignatureError, match="statement"):
        open_envelope(forged(data, key))


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"1", b'{"predicate":null}', b"\xff"])
def test_payloads_that_are_no_statement_are_refused(key: PrivateKey, raw: bytes) -> None:
    with pytest.raises(SignatureError):
        open_envelope(forged(raw, key))


def test_a_payload_with_a_key_twice_is_refused_though_well_signed(
    key: PrivateKey, envelope: Envelope
) -> None:
    raw = b'{"_type":"x",' + envelope.payload[1:]
    with pytest.raises(SignatureError, match="byte for byte"):
        open_envelope(forged(raw, key))


def test_an_envelope_has_a_file_of_one_line(tmp_path: Path, envelope: Envelope) -> None:
    path = tmp_path / "one.json"
    path.write_bytes(envelope.to_bytes() + b"\n")
    assert read_envelope(path) == envelope
    for raw in (envelope.to_bytes(), envelope.to_bytes() + b"\n\n", b""):
        path.write_bytes(raw)
        with pytest.raises(SignatureError, match="one line"):
            read_envelope(path)
    (tmp_path / "link.json").symlink_to(path)
    with pytest.raises(ConfigError, match="symbolic link"):
        read_envelope(tmp_path / "link.json")


@settings(max_examples=100, deadline=None)
@given(
    predicate=st.dictionaries(st.text(max_size=10), _json, max_size=5),
    name=st.text(min_size=1, max_size=20),
)
def test_whatever_can_be_signed_comes_back(
    key: PrivateKey, predicate: dict[str, Any], name: str
) -> None:
    subject = Subject(name=name, sha256="00" * 32)
    statement = Statement(subjects=(subject,), predicate_type=KIND, predicate=predicate)
    try:
        signed = sign(statement, key, now=NOW)
    except RecordError:  # a lone surrogate
        return
    found = open_envelope(Envelope.parse(signed.to_bytes()))
    assert found.model_copy(update={"signer": None}) == statement
