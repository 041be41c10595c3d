"""Keys, trust files and forgeries for the tests of signatures."""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stillhouse.records import canonical_json
from stillhouse.signing import (
    PAYLOAD_TYPE,
    Envelope,
    PrivateKey,
    Statement,
    Subject,
    Trust,
    create_key,
    load_private_key,
    load_trust,
    pae,
    public_path,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SUBJECT = Subject(name="student", sha256="ab" * 32)
KIND = "https://example.org/statement/v1"
STATEMENT = Statement(subjects=(SUBJECT,), predicate_type=KIND, predicate={"answer": 42})


def make_key(
    folder: Path,
    name: str = "lab",
    *,
    start: datetime = NOW - 30 * DAY,
    end: datetime = NOW + 30 * DAY,
    replaces: str | None = None,
) -> PrivateKey:
    """A key in `folder`, valid for a month around `NOW`."""
    path = folder / f"{name}.key"
    create_key(path, name=name, valid_from=start, valid_until=end, now=start, replaces=replaces)
    return load_private_key(path)


def trust_data(
    *keys: PrivateKey,
    rotations: Sequence[Envelope] = (),
    revocations: Sequence[Envelope] = (),
    predicates: Mapping[str, Sequence[str]] | None = None,
    may_revoke: Sequence[str] = (),
    require: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The content of a trust file."""
    return {
        "schema_version": 1,
        "keys": [
            {
                "key": key.public.model_dump(mode="json"),
                "predicates": (predicates or {}).get(key.public.name),
                "may_revoke": key.public.name in may_revoke,
            }
            for key in keys
        ],
        "rotations": [json.loads(one.to_bytes()) for one in rotations],
        "revocations": [json.loads(one.to_bytes()) for one in revocations],
        "require": list(require),
    }


def trust_of(folder: Path, *keys: PrivateKey, **parts: Any) -> Trust:
    """A trust file with these keys, read back."""
    path = folder / "trust.json"
    path.write_text(json.dumps(trust_data(*keys, **parts)))
    return load_trust(path)


def forged(payload: Any, key: PrivateKey, *, key_id: str | None = None) -> Envelope:
    """What a forger with a key of their own signs: any payload, as data or as bytes."""
    raw = payload if isinstance(payload, bytes) else canonical_json(payload)
    return Envelope(raw, key_id or key.key_id, key.sign_bytes(pae(PAYLOAD_TYPE, raw)))


def payload_of(envelope: Envelope) -> dict[str, Any]:
    """The data that was signed."""
    data: dict[str, Any] = json.loads(envelope.payload)
    return data


def envelope_data(envelope: Envelope) -> dict[str, Any]:
    """An envelope as data, for tests to change."""
    data: dict[str, Any] = json.loads(envelope.to_bytes())
    return data


def encoded(data: bytes) -> str:
    """Base64 as envelopes have it."""
    return base64.b64encode(data).decode()


def record_path(folder: Path, name: str = "lab") -> Path:
    """The `.pub` file of a key that `make_key` made."""
    return public_path(folder / f"{name}.key")
