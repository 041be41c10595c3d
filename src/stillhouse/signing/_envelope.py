"""DSSE: the envelope that carries a statement and its signature.

Source: https://github.com/secure-systems-lab/dsse, protocol.md and envelope.md, version 1.0.0.
The specification lets a reader accept more: several signatures, URL-safe base64, any layout. Here
one content has one sequence of bytes, so that no byte can change unseen.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from stillhouse.errors import ConfigError, SignatureError
from stillhouse.records import canonical_json
from stillhouse.signing._keys import PrivateKey
from stillhouse.signing._reading import parse_json, read_regular, to_second
from stillhouse.signing._statement import Signer, Statement

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = 4 << 20  # a lineage of some 7,000 artefacts
_FIELDS = {"payload", "payloadType", "signatures"}


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class Envelope:
    """One signed payload.

    Attributes:
        payload: The statement's bytes.
        key_id: Which key is said to have signed; `open_envelope` holds it against the payload.
        signature: 64 bytes.
    """

    payload: bytes
    key_id: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """One line of canonical JSON, without the newline."""
        return canonical_json(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"keyid": self.key_id, "sig": base64.b64encode(self.signature).decode()}
                ],
            }
        )

    @classmethod
    def parse(cls, raw: bytes, *, where: str = "The envelope") -> Self:
        """The envelope in one line without its newline.

        Raises:
            SignatureError: it is too large, damaged, or in another layout.
        """
        if len(raw) > MAX_ENVELOPE_BYTES:
            raise SignatureError(
                f"{where} has {len(raw):,} bytes; at most {MAX_ENVELOPE_BYTES:,} are read. "
                "Stillhouse writes none so large."
            )
        data: Any = parse_json(raw, where=where)
        try:
            (signature,) = data["signatures"]
            kind, is_whole = data["payloadType"], data.keys() == _FIELDS
            found = cls(
                payload=_decoded(data["payload"]),
                key_id=str(signature["keyid"]),
                signature=_decoded(signature["sig"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise SignatureError(
                f"{where} is no DSSE envelope with one signature in padded base64. Restore it."
            ) from err
        if kind != PAYLOAD_TYPE:
            raise SignatureError(
                f"{where} has payloadType {kind!r:.80}; {PAYLOAD_TYPE} is read. Restore it."
            )
        if not is_whole or found.to_bytes() != raw:
            raise SignatureError(
                f"{where} is not byte for byte as stillhouse writes it (further fields, base64 of "
                "another form). Restore it."
            )
        return found


def sign(statement: Statement, key: PrivateKey, *, now: datetime) -> Envelope:
    """`statement` with its signer and the time, signed.

    Args:
        statement: What is said; its `signer` is set here.
        key: Who says it.
        now: The clock.

    Raises:
        ConfigError: the key is not valid now.
        RecordError: the statement holds what JSON cannot, or is too large.
    """
    moment, public = to_second(now), key.public
    if not public.valid_from_utc <= moment <= public.valid_until_utc:
        raise ConfigError(
            f"The key {public.name} is valid from {public.valid_from_utc:%Y-%m-%d} until "
            f"{public.valid_until_utc:%Y-%m-%d}, and this machine's clock says "
            f"{moment:%Y-%m-%d %H:%M} UTC. Correct the clock, or take another key: stillhouse "
            "keys rotate"
        )
    signer = Signer(key=public, signed_utc=moment)
    payload = statement.model_copy(update={"signer": signer}).to_bytes()
    envelope = Envelope(payload, public.key_id, key.sign_bytes(pae(PAYLOAD_TYPE, payload)))
    # What nobody could read back must not be written.
    open_envelope(Envelope.parse(envelope.to_bytes(), where="The new envelope"))
    return envelope


def open_envelope(envelope: Envelope, *, where: str = "The envelope") -> Statement:
    """The statement, with its signature checked against the key that it carries.

    This finds every changed byte. Whose key it is, and whether it counted at the time, `check`
    tells.

    Raises:
        SignatureError: a byte was changed, or the statement is none of stillhouse's.
    """
    statement = Statement.parse(envelope.payload, where=where)
    signer = signer_of(statement)
    if signer.key.key_id != envelope.key_id:
        raise SignatureError(
            f"{where} names another key ({envelope.key_id[:12]}) than the statement in it "
            f"({signer.key.key_id[:12]}). It was put together from two; restore it."
        )
    if not signer.key.is_signature(envelope.signature, pae(PAYLOAD_TYPE, envelope.payload)):
        raise SignatureError(
            f"{where} has changed since it was signed: the signature of the key "
            f"{signer.key.name} does not fit. Restore it, or sign again."
        )
    return statement


def signer_of(statement: Statement) -> Signer:
    """Who signed a statement that came out of an envelope."""
    assert statement.signer is not None  # `Statement.parse` gives none without
    return statement.signer


def read_envelope(path: Path) -> Envelope:
    """The envelope in a file of its own: one line, and its newline.

    Raises:
        ConfigError: the file cannot be read.
        SignatureError: it holds anything else.
    """
    raw = read_regular(path, max_bytes=MAX_ENVELOPE_BYTES)
    if raw.count(b"\n") != 1 or not raw.endswith(b"\n"):
        raise SignatureError(f"{path} is not one envelope in one line. Restore it.")
    return Envelope.parse(raw[:-1], where=str(path))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as err:
        raise ValueError("no base64") from err
