"""The batch APIs of providers: many requests handed over at once, at a lower price.

`_openai`, `_anthropic` and `_gemini` know one wire each, `_client` puts any of them behind calls
that return when they are done. Nothing here knows the ledger; importing this loads no HTTP client.
"""

from stillhouse.teachers._batch._protocol import (
    QUEUE_FULL,
    BatchLimits,
    BatchMissingError,
    BatchRefusedError,
    BatchUnclearError,
    Found,
    RemoteBatch,
    ResultRow,
    SoughtBatch,
    name_of,
)

__all__ = [
    "name_of",
    "BatchLimits",
    "RemoteBatch",
    "ResultRow",
    "SoughtBatch",
    "Found",
    "QUEUE_FULL",
    "BatchRefusedError",
    "BatchUnclearError",
    "BatchMissingError",
]
