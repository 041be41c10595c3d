"""The typed rows that pass between stages.

All records are frozen pydantic models that refuse unknown fields. `canonical_json` gives the one
byte sequence of a record that hashes are taken over (identity of a request, Merkle leaves).
"""

from stillhouse.records._base import Record, canonical_json, content_hash
from stillhouse.records._rows import (
    FLOAT32,
    Completion,
    Example,
    FinishReason,
    ItemError,
    Message,
    Prompt,
    ReasoningEffort,
    Request,
    Role,
    Sampling,
    Split,
    TokenLogprobs,
    Tool,
    ToolCall,
    Usage,
    messages_identity,
    request_identity,
    split_named,
    unit_of,
)

__all__ = [
    "Record",
    "canonical_json",
    "content_hash",
    "Message",
    "Role",
    "Tool",
    "ToolCall",
    "Prompt",
    "Split",
    "split_named",
    "unit_of",
    "Sampling",
    "ReasoningEffort",
    "Request",
    "request_identity",
    "messages_identity",
    "FLOAT32",
    "TokenLogprobs",
    "Usage",
    "ItemError",
    "FinishReason",
    "Completion",
    "Example",
]
