"""Private keys and their records: what is made, and all that is refused."""

import json
import os
import shutil
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from signing_cases import DAY, NOW, make_key, record_path

from stillhouse.errors import ConfigError
from stillhouse.records import canonical_json
from stillhouse.signing import (
    PublicKey,
    create_key,
    load_elliptic_key,
    load_private_key,
    load_public_key,
)

PASSPHRASE = "correct horse battery"
P = 2**255 - 19
# The order-8 points of the curve, found here by arithmetic and in the code as constants.
_D = -121665 * pow(121666, -1, P) % P


def _small_order_ys() -> set[int]:
    """The y of every point whose order divides 8, from the curve's equation alone."""
    root = pow(2, (P - 1) // 4, P)  # of -1
    found = {0, 1, P - 1}
    # A point of order 8 doubles to one of order 4, (x, 0): y^2 = -x^2, so that
    # x^2 = -y^2 in -x^2 + y^2 = 1 + d x^2 y^2 gives d y^4 + 2 y^2 - 1 = 0.
    discriminant = _square_root((1 + _D) % P, root)
    for sign in (1, -1):
        square = (-1 + sign * discriminant) * pow(_D, -1, P) % P
        if pow(square, (P - 1) // 2, P) == 1:
            y = _square_root(square, root)
            found |= {y, P - y}
    return found


def _square_root(value: int, root_of_minus_1: int) -> int:
    y = pow(value, (P + 3) // 8, P)
    return y if y * y % P == value else y * root_of_minus_1 % P


def private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_secret(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def encrypted_key(folder: Path) -> Path:
    create_key(
        folder / "lab.key",
        name="lab",
        valid_from=NOW,
        valid_until=NOW + DAY,
        now=NOW,
        passphrase=PASSPHRASE,
    )
    return folder / "lab.key"


def test_a_key_is_readable_by_its_owner_alone_and_its_record_by_all(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab.key", "lab.key.pub"]
    assert stat.S_IMODE((tmp_path / "lab.key").stat().st_mode) == 0o600
    assert load_public_key(record_path(tmp_path)) == key.public
    assert key.public.is_signature(key.sign_bytes(b"text"), b"text")
    assert not key.public.is_signature(key.sign_bytes(b"text"), b"texT")


def test_a_key_id_is_the_hash_of_its_der(tmp_path: Path) -> None:
    import hashlib

    key = make_key(tmp_path)
    loaded = serialization.load_pem_public_key(key.public.pem.encode())
    der = loaded.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert key.key_id == hashlib.sha256(der).hexdigest()


def test_a_private_key_is_shown_nowhere(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    secret = (tmp_path / "lab.key").read_text().splitlines()[1]
    assert secret not in repr(key)
    assert "_key" not in repr(key)


@pytest.mark.parametrize("taken", ["lab.key", "lab.key.pub"])
def test_a_key_is_never_replaced(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(ConfigError, match="never replaced"):
        make_key(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "mine"


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "lab.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="never replaced"):
        make_key(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_but_the_two_files_is_left(tmp_path: Path) -> None:
    make_key(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert (tmp_path / "lab.key").stat().st_nlink == 1
    assert stat.S_IMODE(record_path(tmp_path).stat().st_mode) == 0o644


@pytest.mark.parametrize(("days", "ago"), [(0, 0), (-1, 0), (1, 2)])
def test_a_key_that_could_never_sign_is_not_made(tmp_path: Path, days: int, ago: int) -> None:
    start = NOW - ago * DAY
    with pytest.raises(ConfigError, match="end that lies ahead"):
        create_key(
            tmp_path / "a.key",
            name="a",
            valid_from=start,
            valid_until=start + timedelta(days=days),
            now=NOW,
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rights", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_private_key_with_open_rights_is_refused(tmp_path: Path, rights: int) -> None:
    make_key(tmp_path)
    (tmp_path / "lab.key").chmod(rights)
    with pytest.raises(ConfigError, match=f"rights {rights:o}.*chmod 600"):
        load_private_key(tmp_path / "lab.key")


def test_a_linked_key_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path)
    (tmp_path / "link.key").symlink_to(tmp_path / "lab.key")
    with pytest.raises(ConfigError, match="symbolic link"):
        load_private_key(tmp_path / "link.key")


def test_a_pipe_in_place_of_a_key_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lab.key")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_private_key(tmp_path / "lab.key")


def test_a_folder_or_nothing_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.key").mkdir()
    for name in ("folder.key", "none.key"):
        with pytest.raises(ConfigError, match=name):
            load_private_key(tmp_path / name)


def test_a_huge_file_is_not_read_as_a_key(tmp_path: Path) -> None:
    with write_secret(tmp_path / "lab.key", b"").open("wb") as stream:
        stream.truncate(10 << 30)
    with pytest.raises(ConfigError, match="at most 16,384"):
        load_private_key(tmp_path / "lab.key")


@pytest.mark.parametrize("keep", [0, 1, 30, 60, 100])
def test_a_cut_off_key_is_refused(tmp_path: Path, keep: int) -> None:
    make_key(tmp_path)
    raw = (tmp_path / "lab.key").read_bytes()
    assert keep < len(raw)
    write_secret(tmp_path / "lab.key", raw[:keep])
    with pytest.raises(ConfigError, match="cut off, damaged or no private key"):
        load_private_key(tmp_path / "lab.key")


@pytest.mark.parametrize("content", ["record", "pem"])
def test_a_public_key_given_as_private_is_named_so(tmp_path: Path, content: str) -> None:
    key = make_key(tmp_path)
    data = key.public.to_bytes() if content == "record" else key.public.pem.encode()
    write_secret(tmp_path / "other.key", data)
    with pytest.raises(ConfigError, match="is a public key"):
        load_private_key(tmp_path / "other.key")


@pytest.mark.parametrize("kind", ["RSA", "EC"])
def test_keys_of_other_kinds_are_named(tmp_path: Path, kind: str) -> None:
    key = (
        rsa.generate_private_key(65537, 2048)
        if kind == "RSA"
        else ec.generate_private_key(ec.SECP256R1())
    )
    write_secret(tmp_path / "other.key", private_pem(key))
    with pytest.raises(ConfigError, match=f"of the kind {kind}.*Ed25519"):
        load_private_key(tmp_path / "other.key")


def test_a_passphrase_opens_a_key_and_another_does_not(tmp_path: Path) -> None:
    path = encrypted_key(tmp_path)
    assert b"ENCRYPTED" in path.read_bytes()
    assert load_private_key(path, ask=lambda: PASSPHRASE).public.name == "lab"
    for wrong in ("correct horse batterY", "", "x" * 10_000):
        with pytest.raises(ConfigError, match="passphrase is another one"):
            load_private_key(path, ask=lambda wrong=wrong: wrong)


def test_a_passphrase_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = encrypted_key(tmp_path)
    monkeypatch.delenv("STILLHOUSE_KEY_PASSPHRASE", raising=False)
    with pytest.raises(ConfigError, match="Set STILLHOUSE_KEY_PASSPHRASE"):
        load_private_key(path)
    monkeypatch.setenv("STILLHOUSE_KEY_PASSPHRASE", PASSPHRASE)
    assert load_private_key(path).public.name == "lab"
    with pytest.raises(ConfigError, match="passphrase is another one"):
        load_private_key(path, ask=lambda: "what was asked for counts")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_opens_an_encrypted_key_and_sees_its_costs(tmp_path: Path) -> None:
    path = encrypted_key(tmp_path)

    def openssl(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            ["openssl", *arguments, "-in", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    seen = openssl("pkey", "-passin", f"pass:{PASSPHRASE}", "-pubout")
    assert seen == (0, load_public_key(record_path(tmp_path)).pem)
    assert openssl("pkey", "-passin", "pass:another one", "-pubout")[0] != 0
    parsed = openssl("asn1parse")[1]
    for part in ("PBES2", "scrypt", ":4000", ":08", ":05", "aes-256-cbc"):
        assert part in parsed


def test_two_keys_under_one_passphrase_share_neither_salt_nor_vector(tmp_path: Path) -> None:
    texts = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        texts.add(encrypted_key(tmp_path / name).read_text().splitlines()[2])
    assert len(texts) == 2


def test_nobody_is_asked_about_a_key_without_passphrase(tmp_path: Path) -> None:
    def ask() -> str:
        raise AssertionError("asked")

    make_key(tmp_path)
    assert load_private_key(tmp_path / "lab.key", ask=ask)


def test_a_short_passphrase_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 7 characters") as caught:
        create_key(
            tmp_path / "a.key",
            name="a",
            valid_from=NOW,
            valid_until=NOW + DAY,
            now=NOW,
            passphrase="hunter2",
        )
    assert "hunter2" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_key_needs_its_own_record(tmp_path: Path) -> None:
    make_key(tmp_path, "lab")
    make_key(tmp_path, "other")
    (tmp_path / "lab.key.pub").write_bytes((tmp_path / "other.key.pub").read_bytes())
    with pytest.raises(ConfigError, match="record of another key"):
        load_private_key(tmp_path / "lab.key")
    (tmp_path / "lab.key.pub").unlink()
    with pytest.raises(ConfigError, match=r"lab\.key\.pub cannot be read"):
        load_private_key(tmp_path / "lab.key")


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("key_id", "0" * 64, "not the SHA-256"),
        ("name", "l\u0430b", "mixes letters"),
        ("pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        ("valid_until_utc", "2020-01-01T00:00:00Z", "not after"),
        ("replaces", "x", "replaces"),
        ("extra", 1, "extra"),
    ],
)
def test_a_record_that_cannot_be_is_refused(
    tmp_path: Path, field: str, value: object, part: str
) -> None:
    key = make_key(tmp_path)
    data = {**key.public.model_dump(mode="json"), field: value}
    record_path(tmp_path).write_bytes(canonical_json(data) + b"\n")
    with pytest.raises(ConfigError, match=part):
        load_public_key(record_path(tmp_path))


@pytest.mark.parametrize("how", ["spaces", "twice", "order", "no newline wanted"])
def test_a_record_in_another_layout_is_refused(tmp_path: Path, how: str) -> None:
    key = make_key(tmp_path)
    data = key.public.model_dump(mode="json")
    text = {
        "spaces": json.dumps(data, sort_keys=True),
        "twice": '{"name":"eve",' + canonical_json(data).decode()[1:],
        "order": json.dumps(dict(reversed(data.items())), separators=(",", ":")),
        "no newline wanted": canonical_json(data).decode() + "\n\n",
    }[how]
    record_path(tmp_path).write_text(text)
    with pytest.raises(ConfigError, match=r"byte for byte|damaged"):
        load_public_key(record_path(tmp_path))


def test_a_key_of_another_kind_in_a_record_is_refused(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    pem = ec.generate_private_key(ec.SECP256R1()).public_key()
    text = pem.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    with pytest.raises(ValueError, match="another kind than Ed25519"):
        PublicKey.model_validate({**key.public.model_dump(), "pem": text})


@pytest.mark.parametrize("sign", [0, 1])
def test_every_weak_key_of_small_order_is_refused(tmp_path: Path, sign: int) -> None:
    key = make_key(tmp_path)
    ys = _small_order_ys()
    assert len(ys) == 5
    for y in (*ys, P, P + 1):
        raw = bytearray(y.to_bytes(32, "little"))
        raw[31] |= sign << 7
        pem = Ed25519PublicKey.from_public_bytes(bytes(raw)).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with pytest.raises(ValueError, match="small order"):
            PublicKey.model_validate({**key.public.model_dump(), "pem": pem.decode()})


def test_only_nist_curves_are_taken_for_bundles_of_others(tmp_path: Path) -> None:
    good = write_secret(tmp_path / "p.pem", private_pem(ec.generate_private_key(ec.SECP384R1())))
    assert load_elliptic_key(good) is None
    make_key(tmp_path)
    bad = write_secret(tmp_path / "k.pem", private_pem(ec.generate_private_key(ec.SECP256K1())))
    for path in (tmp_path / "lab.key", bad):
        with pytest.raises(ConfigError, match="no key of secp256r1"):
            load_elliptic_key(path)
    good.chmod(0o644)
    with pytest.raises(ConfigError, match="rights 644"):
        load_elliptic_key(good)
