"""Profiles: what they may say, and that nobody changes what was signed."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from watermark_cases import KEY, TOKENIZER, key_of, profile_of, signed_profile

from stillhouse.errors import ConfigError, SignatureError
from stillhouse.records import canonical_json
from stillhouse.signing import Keyring, Statement, Subject, load_trust, sign
from stillhouse.watermark import (
    PROFILE_TYPE,
    Profile,
    check_tokenizer,
    make_mark,
    open_watermark,
    read_profile,
    score_tokens,
    write_profile,
)


def test_the_id_is_the_hash_of_what_the_profile_says() -> None:
    first, same = profile_of("kgw"), profile_of("kgw", parameters={"gamma": 0.25, "delta": 2.0})
    assert first.profile_id == same.profile_id  # defaults are written out
    others = [
        profile_of("kgw", parameters={"gamma": 0.5}),
        profile_of("kgw", context_width=3),
        profile_of("kgw", customer=KEY.customer_id("acme")),
        profile_of("kgw", prf="hmac-sha256-v1"),
        profile_of("kgw", repeats="conversation"),
        profile_of("kgw", sampling={"temperature": 0.7, "top_p": 0.9}),
    ]
    assert len({one.profile_id for one in [first, *others]}) == 7
    assert Profile.model_validate_json(canonical_json(first)) == first


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scheme": "unigram"}, "scheme"),
        ({"prf": "philox-v1"}, "prf 'philox-v1' is not known here"),
        ({"prf": "synthid-v1"}, "is for the scheme synthid"),
        ({"scheme": "synthid", "prf": "synthid-v1", "customer": "0" * 64}, "without a customer"),
        ({"context_width": 0}, "context_width"),
        ({"context_width": 65}, "context_width"),
        ({"parameters": {"gamma": 0.5}}, "parameters of gumbel are none"),
        ({"scheme": "dual_gumbel", "parameters": {"alpha": 0.0}}, "alpha=0.0"),
        ({"scheme": "dual_gumbel", "parameters": {"alpha": 0.51}}, "alpha=0.51"),
        ({"scheme": "kgw", "parameters": {"gamma": 1.0}}, "gamma=1.0"),
        ({"scheme": "kgw", "parameters": {"gamma": float("nan")}}, "gamma=nan"),
        ({"scheme": "kgw", "parameters": {"delta": float("inf")}}, "delta=inf"),
        ({"scheme": "synthid", "parameters": {"layers": 30.5}}, "layers=30.5"),
        ({"scheme": "synthid", "parameters": {"layers": 53}}, "layers=53"),
        ({"scheme": "synthid", "parameters": {"layers": float("inf")}}, "layers=inf"),
        ({"parameters": [1]}, "parameters"),
        ({"customer": "acme"}, "customer"),
        ({"tokenizer_sha256": "0"}, "tokenizer_sha256"),
        ({"version": 2}, "version"),
        ({"key": "secret"}, "key"),
    ],
)
def test_a_profile_that_nothing_could_mark_by_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        profile_of(**changes)


def test_another_key_than_the_profiles_marks_and_scores_nothing() -> None:
    for scheme in ("gumbel", "dual_gumbel", "kgw", "synthid"):
        profile = profile_of(scheme)
        with pytest.raises(ConfigError, match="Give the key that the profile was made with"):
            make_mark(profile, key_of(1))
        with pytest.raises(ConfigError, match="Give the key that the profile was made with"):
            score_tokens(profile, key_of(1), [1, 2, 3, 4, 5])


@pytest.mark.parametrize("num_ids", [0, 1, 4])
def test_texts_that_are_too_short_have_no_scores(num_ids: int) -> None:
    for scheme in ("gumbel", "dual_gumbel", "kgw", "synthid"):
        scores = score_tokens(profile_of(scheme), KEY, list(range(num_ids)))
        sizes = {len(scores.scores_N), len(scores.contexts_N), len(scores.positions_N)}
        assert sizes == {0} == {len(scores.ids_N)}
    assert score_tokens(profile_of(), KEY, range(5)).positions_N.tolist() == [4]


def test_another_tokenizer_is_refused() -> None:
    check_tokenizer(profile_of(), TOKENIZER)
    with pytest.raises(ConfigError, match="is for the tokenizer 000000000000, and this one is 111"):
        check_tokenizer(profile_of(), "1" * 64)


def test_a_signed_profile_is_read_and_marks(tmp_path: Path) -> None:
    path, profile = signed_profile(tmp_path, scheme="kgw")
    found = read_profile(path)
    assert found.profile == profile
    assert found.signer.key.name == "signer"
    opened = open_watermark(path, key=tmp_path / "mark.watermark-key")
    assert opened.profile_id == profile.profile_id
    assert read_profile(path).profile.key_id not in (tmp_path / "mark.watermark-key").read_text()
    with pytest.raises(ConfigError, match="a profile is never replaced"):
        write_profile(path, profile, Keyring(tmp_path).private("signer"), now=datetime.now(UTC))


def test_only_a_trusted_signer_counts_where_a_reader_has_a_trust_file(tmp_path: Path) -> None:
    path, profile = signed_profile(tmp_path)
    ring, now = Keyring(tmp_path), datetime.now(UTC)
    ring.create("other", now=now, valid_days=3)
    for name, is_trusted in (("signer", True), ("other", False)):
        trust_path = tmp_path / f"{name}.json"
        trust_path.write_bytes(orjson.dumps(ring.trust_document([name])))
        trust = load_trust(trust_path)
        if is_trusted:
            assert read_profile(path, trust=trust, now=now).profile == profile
            late = now + timedelta(days=400)
            assert read_profile(path, trust=trust, now=late).profile == profile
        else:
            with pytest.raises(SignatureError, match="a key that the trust file does not have"):
                read_profile(path, trust=trust, now=now)


@pytest.fixture(scope="module")
def signed_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return signed_profile(tmp_path_factory.mktemp("signed"))[0].read_bytes()


@settings(deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_every_changed_byte_is_found(
    signed_bytes: bytes, tmp_path_factory: pytest.TempPathFactory, share: float, change: int
) -> None:
    raw = bytearray(signed_bytes)
    raw[int(share * len(raw))] ^= change
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_bytes(bytes(raw))
    with pytest.raises(SignatureError):
        read_profile(path)


def _resigned(path: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Sign the profile again after a change: the signature fits, what it says may not."""
    envelope = orjson.loads(path.read_bytes())
    payload = orjson.loads(base64.b64decode(envelope["payload"]))
    predicate = payload["predicate"]
    predicate.pop("stillhouse_signer")
    change(predicate)
    statement = Statement(
        subjects=(Subject(name="p", sha256=payload["subject"][0]["digest"]["sha256"]),),
        predicate_type=PROFILE_TYPE,
        predicate=predicate,
    )
    signed = sign(statement, Keyring(folder).private("signer"), now=datetime.now(UTC))
    path.write_bytes(signed.to_bytes() + b"\n")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"prf": "splitmix64-v9"}, "prf 'splitmix64-v9' is not known here"),
        ({"version": 2}, "version"),
        ({"scheme": "unigram"}, "scheme"),
        ({"more": 1}, "more"),
        ({"context_width": 5}, "names another profile"),
    ],
)
def test_what_is_signed_and_not_known_here_is_refused(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    path, _ = signed_profile(tmp_path)
    _resigned(path, tmp_path, lambda predicate: predicate.update(change))
    with pytest.raises(SignatureError, match=why):
        read_profile(path)


def test_a_statement_of_another_type_is_no_profile(tmp_path: Path) -> None:
    path, _ = signed_profile(tmp_path)
    statement = Statement(
        subjects=(Subject(name="p", sha256="0" * 64),), predicate_type="https://x", predicate={}
    )
    signed = sign(statement, Keyring(tmp_path).private("signer"), now=datetime.now(UTC))
    path.write_bytes(signed.to_bytes() + b"\n")
    with pytest.raises(SignatureError, match="not a watermark profile"):
        read_profile(path)


@pytest.mark.parametrize("raw", [b"", b"\n", b"{}\n", b"scheme: kgw\nid: a\n", b"\xff" * 100])
def test_a_file_that_is_no_envelope_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "p"
    path.write_bytes(raw)
    with pytest.raises(SignatureError, match=str(path)):
        read_profile(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_profile(tmp_path / "none")
