"""The secret under which prompts and accounts become numbers: 32 random bytes in a file."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import orjson

from stillhouse.errors import ConfigError
from stillhouse.records import canonical_json
from stillhouse.signing import read_regular

KEY_BYTES = 32
_KIND = "stillhouse/traffic/key/1"
_ACCOUNT_CHARS = 16
_MAX_FILE_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class TrafficKey:
    """What only the owner has. Without it, hashes tell nothing of prompts or callers.

    Whoever has it can try guesses: it belongs beside other secrets, and is thrown away with what
    was hashed under it.

    Attributes:
        secret: 32 bytes.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ConfigError(
                f"A traffic key has {KEY_BYTES} bytes, and this one {len(self.secret)}. Let "
                "`stillhouse watch` make one with --key FILE."
            )

    @classmethod
    def generate(cls) -> Self:
        """A new key from the system's randomness."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def key_id(self) -> str:
        """SHA-256 over a label and the key, which says nothing of it."""
        return hashlib.sha256(f"{_KIND}\0".encode() + self.secret).hexdigest()

    def derive(self, purpose: str) -> bytes:
        """HMAC-SHA256 of a purpose: 32 bytes for that use alone."""
        return hmac.digest(self.secret, f"{_KIND}\0{purpose}".encode(), "sha256")

    def account(self, name: str) -> str:
        """The pseudonym of an account: 16 hex digits, the same in all logs of this key."""
        text = name.encode("utf-8", "surrogatepass")
        return hmac.digest(self.derive("account"), text, "sha256").hex()[:_ACCOUNT_CHARS]


def open_traffic_key(path: Path) -> TrafficKey:
    """The key in a file; made there, with rights 600, where nothing is.

    Raises:
        ConfigError: the file is open to others, is a link, cannot be read or written, or holds
            anything else.
    """
    return _read(path) if os.path.lexists(path) else _create(path)


def _create(path: Path) -> TrafficKey:
    key = TrafficKey.generate()
    data = canonical_json({"kind": _KIND, "key": key.secret.hex()}) + b"\n"
    try:
        # Its rights hold from the first moment, and what is there is never replaced.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or err
        raise ConfigError(f"{path} cannot be written ({reason}). Give another place.") from err
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return key


def _read(path: Path) -> TrafficKey:
    raw = read_regular(path, max_bytes=_MAX_FILE_BYTES, is_secret=True)
    try:
        found = orjson.loads(raw)
        if found["kind"] != _KIND:
            raise KeyError
        return TrafficKey(bytes.fromhex(found["key"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as err:
        if isinstance(err, ConfigError):
            raise
        raise ConfigError(
            f"{path} is no traffic key, or is cut off. Restore it, or give a name where nothing "
            "is, and a new one is made."
        ) from err
