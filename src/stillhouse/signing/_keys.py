"""Keys of Ed25519: made, kept as PKCS8 with a public record beside it, loaded."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from pydantic import Field, model_validator

from stillhouse.errors import ConfigError, SignatureError
from stillhouse.records import Record, canonical_json
from stillhouse.signing._encrypted import encrypted_pem
from stillhouse.signing._names import check_key_name
from stillhouse.signing._reading import Moment, parse_canonical, read_regular, to_second
from stillhouse.signing._secrets import write_new

SHA256 = r"^[0-9a-f]{64}$"
MIN_PASSPHRASE_CHARS = 12
PASSPHRASE_VARIABLE = "STILLHOUSE_KEY_PASSPHRASE"
MAX_KEY_BYTES = 16_384
# Under a key of small order one signature holds for many texts. The y of the eight such points,
# in each encoding, without the sign bit; from libsodium's ge25519_has_small_order.
_SMALL_ORDER = {
    bytes.fromhex(text)
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
}


class PublicKey(Record):
    """What others know of a key: the file `PATH.pub`, and part of each of its signatures."""

    key_id: str = Field(pattern=SHA256)
    """SHA-256 of the DER of its SubjectPublicKeyInfo."""
    name: str
    pem: str = Field(max_length=1000)
    valid_from_utc: Moment
    valid_until_utc: Moment
    replaces: str | None = Field(default=None, pattern=SHA256)
    """The key that it was rotated from."""

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        check_key_name(self.name)
        if self.pem != _pem(self._key()):
            raise ValueError("pem is not laid out as stillhouse writes it")
        if self.key_id != _key_id(self._key()):
            raise ValueError("key_id is not the SHA-256 of the key")
        if self.valid_from_utc >= self.valid_until_utc:
            raise ValueError("valid_until_utc is not after valid_from_utc")
        return self

    def to_bytes(self) -> bytes:
        """The bytes of a `.pub` file: canonical JSON and a newline."""
        return canonical_json(self) + b"\n"

    def is_signature(self, signature: bytes, data: bytes) -> bool:
        """Whether this key signed `data`."""
        try:
            self._key().verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def _key(self) -> Ed25519PublicKey:
        try:
            key = serialization.load_pem_public_key(self.pem.encode())
        except (ValueError, UnsupportedAlgorithm) as err:
            raise ValueError("pem is no public key") from err
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("pem is a key of another kind than Ed25519")
        raw = key.public_bytes_raw()
        if raw[:-1] + bytes([raw[-1] & 0x7F]) in _SMALL_ORDER:
            raise ValueError("pem is a weak key of small order")
        return key


@dataclass(frozen=True)
class PrivateKey:
    """A key that can sign.

    Attributes:
        public: Its public record.
    """

    public: PublicKey
    _key: Ed25519PrivateKey = field(repr=False)

    @property
    def key_id(self) -> str:
        """SHA-256 of the DER of its SubjectPublicKeyInfo."""
        return self.public.key_id

    def sign_bytes(self, data: bytes) -> bytes:
        """The 64 bytes of the signature of `data`."""
        return self._key.sign(data)


def create_key(
    path: Path,
    *,
    name: str,
    valid_from: datetime,
    valid_until: datetime,
    now: datetime,
    replaces: str | None = None,
    passphrase: str | None = None,
) -> PublicKey:
    """Make a key: `path` holds the private one, `path.pub` the public record.

    Args:
        path: Written with rights 600; nothing of that name may be there.
        name: What people call it.
        valid_from: Signatures from before do not count.
        valid_until: Nor from after.
        now: The clock.
        replaces: The key that this one is rotated from.
        passphrase: Encrypts the private key.

    Raises:
        ConfigError: the name, the time or the passphrase will not do, or a file is in the way.
    """
    check_key_name(name)
    if not valid_from < valid_until or valid_until <= now:
        raise ConfigError(
            f"The key would be valid from {valid_from:%Y-%m-%d} until {valid_until:%Y-%m-%d}, and "
            f"today is {now:%Y-%m-%d}. Give an end that lies ahead and after the start."
        )
    if passphrase is not None and len(passphrase) < MIN_PASSPHRASE_CHARS:
        raise ConfigError(
            f"The passphrase has {len(passphrase)} characters; take {MIN_PASSPHRASE_CHARS} or more."
        )
    record_path = public_path(path)
    for taken in (path, record_path):
        if os.path.lexists(taken):
            raise ConfigError(f"{taken} exists; a key is never replaced. Choose another name.")
    key = Ed25519PrivateKey.generate()
    public = PublicKey(
        key_id=_key_id(key.public_key()),
        name=name,
        pem=_pem(key.public_key()),
        valid_from_utc=to_second(valid_from),
        valid_until_utc=to_second(valid_until),
        replaces=replaces,
    )
    # The record first: where there is a private key, there is all of it.
    write_new(record_path, public.to_bytes(), mode=0o644)
    write_new(path, _private_pem(key, passphrase), mode=0o600)
    return public


def load_private_key(path: Path, *, ask: Callable[[], str] | None = None) -> PrivateKey:
    """The key in `path`, with its record from `path.pub`.

    Args:
        path: PKCS8 in PEM.
        ask: Gives the passphrase of an encrypted key; None takes `STILLHOUSE_KEY_PASSPHRASE`.

    Raises:
        ConfigError: the file is a link, open to others, cut off, of another kind, or encrypted
            with another passphrase; or its record is missing or of another key.
    """
    raw = read_regular(path, max_bytes=MAX_KEY_BYTES, is_secret=True)
    key, _ = parse_private(path, raw, ask)
    if not isinstance(key, Ed25519PrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey").strip("_")
        raise ConfigError(
            f"{path} is a key of the kind {kind}; signatures here are Ed25519. Make one: "
            "stillhouse keys create NAME"
        )
    public = load_public_key(public_path(path))
    if public.key_id != _key_id(key.public_key()):
        raise ConfigError(
            f"{public_path(path)} is the record of another key than {path}. Put the two files "
            "together that were made together."
        )
    return PrivateKey(public, key)


def load_public_key(path: Path) -> PublicKey:
    """The record in a `.pub` file.

    Raises:
        ConfigError: it cannot be read, or is not one.
    """
    raw = read_regular(path, max_bytes=MAX_KEY_BYTES)
    try:
        return parse_canonical(PublicKey, raw.removesuffix(b"\n"), where=str(path))
    except SignatureError as err:
        raise ConfigError(f"{err} It must be the .pub file of a key.") from err


def public_path(path: Path) -> Path:
    """Where the record of the private key in `path` is."""
    return path.with_name(f"{path.name}.pub")


def parse_private(
    path: Path, raw: bytes, ask: Callable[[], str] | None
) -> tuple[PrivateKeyTypes, bytes | None]:
    """The private key of any kind in PEM, and the passphrase that opened it.

    Raises:
        ConfigError: it is a public one, damaged, or encrypted and `ask` gives no or another
            passphrase.
    """
    first, *_ = raw.split(b"\n", 1)
    if b"PUBLIC KEY" in first or raw[:1] == b"{":
        raise ConfigError(f"{path} is a public key; signing takes the private one beside it.")
    is_encrypted = b"ENCRYPTED" in raw[:200]
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if is_encrypted and ask is None and not given:
        raise ConfigError(
            f"{path} is encrypted. Set {PASSPHRASE_VARIABLE} to its passphrase, or run the command "
            "in a terminal."
        )
    passphrase = (ask() if ask is not None else given or "").encode() if is_encrypted else None
    try:
        return serialization.load_pem_private_key(raw, passphrase), passphrase
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        wrong = "the passphrase is another one, or the file is damaged"
        reason = wrong if is_encrypted else "it is cut off, damaged or no private key in PEM"
        raise ConfigError(f"{path} cannot be opened: {reason}. Try again, or restore it.") from err


def _private_pem(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    plain, pkcs8 = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
    if passphrase is None:
        return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
    return encrypted_pem(key.private_bytes(serialization.Encoding.DER, pkcs8, plain), passphrase)


def _pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def _key_id(key: Ed25519PublicKey) -> str:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()
