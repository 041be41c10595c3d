"""The base of all records and their canonical bytes."""

import hashlib
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from stillhouse.errors import RecordError


class Record(BaseModel):
    """A frozen row that refuses unknown fields and non-finite surprises of coercion."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def canonical_json(value: Any) -> bytes:
    """The one UTF-8 JSON encoding of `value`: sorted keys, no spaces, shortest floats.

    Args:
        value: A `Record` or plain JSON data. Non-finite floats become `null`, as in every JSON
            that stillhouse writes.

    Raises:
        RecordError: `value` holds something JSON or UTF-8 cannot carry (a lone surrogate, an
            integer over 64 bits).
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as err:
        raise RecordError(
            f"A record cannot be encoded as UTF-8 JSON ({err}). Remove lone surrogates and "
            "integers over 64 bits from the input."
        ) from err


def content_hash(value: Any) -> str:
    """SHA-256 of `canonical_json(value)` in lower-case hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
