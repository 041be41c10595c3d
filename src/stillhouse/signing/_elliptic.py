"""Keys of other tools, as far as OpenSSF model signing takes them."""

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from stillhouse.errors import ConfigError
from stillhouse.signing._keys import MAX_KEY_BYTES, parse_private
from stillhouse.signing._reading import read_regular

CURVES = ("secp256r1", "secp384r1", "secp521r1")


def load_elliptic_key(path: Path, *, ask: Callable[[], str] | None = None) -> bytes | None:
    """Check a private key of a NIST curve, and give the passphrase that opens it.

    Args:
        path: PKCS8 or SEC1 in PEM.
        ask: Gives the passphrase of an encrypted key.

    Returns:
        The passphrase; None where the key has none.

    Raises:
        ConfigError: the file is a link, open to others, cut off, of another kind or curve, or
            encrypted with another passphrase.
    """
    raw = read_regular(path, max_bytes=MAX_KEY_BYTES, is_secret=True)
    key, passphrase = parse_private(path, raw, ask)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise ConfigError(
            f"{path} is no key of {', '.join(CURVES)}, and OpenSSF model signing takes no others. "
            "Make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out oms.pem"
        )
    return passphrase
