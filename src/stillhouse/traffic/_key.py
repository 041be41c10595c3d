"""The secret under which prompts and accounts become numbers: 32 random bytes in a file."""

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.signing import SECRET_BYTES, create_secret, read_secret

KEY_BYTES = SECRET_BYTES
_KIND = "stillhouse/traffic/key/1"
_ACCOUNT_CHARS = 16


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
    if not os.path.lexists(path):
        return TrafficKey(create_secret(path, _KIND))
    secret = read_secret(path, _KIND)
    if secret is None:
        raise ConfigError(
            f"{path} is no traffic key, or is cut off. Restore it, or give a name where nothing "
            "is, and a new one is made."
        )
    return TrafficKey(secret)
