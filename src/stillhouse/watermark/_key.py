"""A secret key of watermarks: 32 random bytes, its commitment, and what is derived from it."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from stillhouse.errors import ConfigError
from stillhouse.signing import SECRET_BYTES, create_secret, read_secret
from stillhouse.watermark._prf import PrfName, Subkeys

KEY_BYTES = SECRET_BYTES
_KIND = "stillhouse/watermark/key/1"
_DERIVED = b"stillhouse/watermark/1\0"
_CUSTOMER = b"stillhouse/watermark/customer/1\0"


@dataclass(frozen=True, slots=True)
class WatermarkKey:
    """What only the owner has. Whoever has it can mark in the owner's name, and remove marks.

    Attributes:
        secret: 32 bytes.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ConfigError(
                f"A watermark key has {KEY_BYTES} bytes, and this one {len(self.secret)}. Make "
                "one: stillhouse watermark key NAME"
            )

    @classmethod
    def generate(cls) -> Self:
        """A new key from the system's randomness."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def key_id(self) -> str:
        """The commitment: SHA-256 over a label and the key; it says nothing of the key."""
        return hashlib.sha256(f"{_KIND}\0".encode() + self.secret).hexdigest()

    def subkeys(
        self, purpose: str, customer: bytes = b"", *, prf: PrfName = "splitmix64-v1"
    ) -> Subkeys:
        """What marks and scores are computed with.

        Args:
            purpose: Of the scheme, such as `a` and `b` for the two keys of the dual Gumbel.
            customer: `customer_id` of a customer as bytes; empty for the deployment itself.
            prf: Which function they are for.
        """
        raw = self.derive(purpose, customer)
        return Subkeys(int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:16], "little"), prf)

    def derive(self, purpose: str, customer: bytes = b"") -> bytes:
        """HMAC-SHA256(key, label | purpose | 0 | customer): 32 bytes."""
        text = _DERIVED + purpose.encode() + b"\0" + customer
        return hmac.digest(self.secret, text, "sha256")

    def customer_id(self, customer: str) -> str:
        """The commitment to a customer that profiles hold: 64 hex digits.

        Without the key nobody can tell from it who the customer is, not even by trying names.
        """
        return hmac.digest(self.secret, _CUSTOMER + customer.encode(), "sha256").hex()


def create_watermark_key(path: Path) -> WatermarkKey:
    """Make a key and write it to `path` with rights 600.

    Raises:
        ConfigError: there is something of that name, or the folder cannot be written.
    """
    return WatermarkKey(create_secret(path, _KIND))


def load_watermark_key(path: Path) -> WatermarkKey:
    """The key in a file that `create_watermark_key` wrote.

    Raises:
        ConfigError: it cannot be read, is a link or no regular file, is open to others, or holds
            anything else.
    """
    secret = read_secret(path, _KIND)
    if secret is None:
        raise ConfigError(
            f"{path} is no watermark key, or is cut off. Restore it, or give the file that "
            "`stillhouse watermark key` wrote."
        )
    return WatermarkKey(secret)
