"""The typed rows that pass between stages.

All records are frozen pydantic models that refuse unknown fields. `canonical_json` gives the one
byte sequence of a record that hashes are taken over (identity of a request, Merkle leaves).
"""

from stillhouse.records._base import Record, canonical_json, content_hash
from stillhouse.records._completions import (
    FLOAT32,
    Completion,
    FinishReason,
    ItemError,
    TokenLogprobs,
    Usage,
)
from stillhouse.records._rows import (
    Example,
    LabelSet,
    Message,
    Prompt,
    ReasoningEffort,
    Request,
    Role,
    Sampling,
    Split,
    Tool,
    ToolCall,
    messages_identity,
    prompt_content,
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
    "LabelSet",
    "Split",
    "split_named",
    "unit_of",
    "Sampling",
    "ReasoningEffort",
    "Request",
    "request_identity",
    "messages_identity",
    "prompt_content",
    "FLOAT32",
    "TokenLogprobs",
    "Usage",
    "ItemError",
    "FinishReason",
    "Completion",
    "Example",
]
