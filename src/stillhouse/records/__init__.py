"""The typed rows that pass between stages.

All records are frozen pydantic models that refuse unknown fields. `canonical_json` gives the one
byte sequence of a record that hashes are taken over (identity of a request, Merkle leaves).
"""

from stillhouse.records._base import Record, canonical_json, content_hash
from stillhouse.records._rows import (
    Completion,
    Example,
    FinishReason,
    ItemError,
    Message,
    Prompt,
    Request,
    Role,
    Sampling,
    Split,
    TokenLogprobs,
    Usage,
)

__all__ = [
    "Record",
    "canonical_json",
    "content_hash",
    "Message",
    "Role",
    "Prompt",
    "Split",
    "Sampling",
    "Request",
    "TokenLogprobs",
    "Usage",
    "ItemError",
    "FinishReason",
    "Completion",
    "Example",
]
