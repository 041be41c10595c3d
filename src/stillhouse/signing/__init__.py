"""Keys, signed statements and whom to trust: all offline, and without a word on what is signed.

A statement (in-toto v1) says something about subjects, which are named by their SHA-256; `sign`
puts it into an envelope (DSSE, Ed25519) with its signer and the time. `open_envelope` finds every
changed byte, `check` tells whether the signature counts for a reader with a trust file. Formats and
messages: `docs/signatures.md`.
"""

from stillhouse.signing._check import check, check_signer, check_subject
from stillhouse.signing._elliptic import load_elliptic_key
from stillhouse.signing._envelope import (
    MAX_ENVELOPE_BYTES,
    PAYLOAD_TYPE,
    Envelope,
    open_envelope,
    pae,
    read_envelope,
    sign,
    signer_of,
)
from stillhouse.signing._keyring import FOLDER_VARIABLE, Keyring, KeyStanding, default_key_folder
from stillhouse.signing._keys import (
    MIN_PASSPHRASE_CHARS,
    PASSPHRASE_VARIABLE,
    PrivateKey,
    PublicKey,
    create_key,
    load_private_key,
    load_public_key,
    public_path,
)
from stillhouse.signing._names import check_key_name, lookalike
from stillhouse.signing._reading import read_regular
from stillhouse.signing._secrets import SECRET_BYTES, create_secret, read_secret
from stillhouse.signing._statement import STATEMENT_TYPE, Signer, Statement, Subject
from stillhouse.signing._succession import (
    REVOCATION_TYPE,
    ROTATION_TYPE,
    Reason,
    Revocation,
    Rotation,
    sign_revocation,
    sign_rotation,
)
from stillhouse.signing._trust import RequiredSigner, Trust, TrustedKey, load_trust

__all__ = [
    "read_regular",
    "create_secret",
    "read_secret",
    "SECRET_BYTES",
    "PublicKey",
    "PrivateKey",
    "create_key",
    "load_private_key",
    "load_public_key",
    "public_path",
    "load_elliptic_key",
    "MIN_PASSPHRASE_CHARS",
    "PASSPHRASE_VARIABLE",
    "Keyring",
    "KeyStanding",
    "default_key_folder",
    "FOLDER_VARIABLE",
    "check_key_name",
    "lookalike",
    "Subject",
    "Signer",
    "Statement",
    "STATEMENT_TYPE",
    "Envelope",
    "PAYLOAD_TYPE",
    "MAX_ENVELOPE_BYTES",
    "pae",
    "sign",
    "open_envelope",
    "signer_of",
    "read_envelope",
    "Rotation",
    "Revocation",
    "Reason",
    "ROTATION_TYPE",
    "REVOCATION_TYPE",
    "sign_rotation",
    "sign_revocation",
    "Trust",
    "TrustedKey",
    "RequiredSigner",
    "load_trust",
    "check",
    "check_subject",
    "check_signer",
]
