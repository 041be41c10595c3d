"""The rows of an access log (`docs/traffic.md`)."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from stillhouse.records import Record

SCHEMA_VERSION = 1
_Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]+$")]


class HashedPrompt(Record):
    """What is kept of a prompt: numbers under a key."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    key: Annotated[_Hex, StringConstraints(min_length=64, max_length=64)]
    """Id of the key; features of another one cannot be compared."""
    frame: Annotated[_Hex, StringConstraints(min_length=32, max_length=32)]
    """Band keys of the frame, little-endian 32 bits each."""
    content: Annotated[_Hex, StringConstraints(min_length=192, max_length=192)]
    """Buckets of content words, little-endian 16 bits each."""
    cues: int = Field(ge=0, le=255)
    """Which kinds of cues it had."""
    words: int = Field(ge=0, le=65_535)
    frame_words: int = Field(ge=0, le=65_535)


class AccessRow(Record):
    """One request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    v: int = Field(default=SCHEMA_VERSION, ge=1)
    id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """No two requests share it; a row with one that was there before is counted and left out."""
    at: datetime
    """When it came, with its offset from UTC."""
    account: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Who pays for it: a name, which becomes a pseudonym as it is read; in a row with `hashed`, the
    pseudonym."""
    prompt: str | None = None
    """What was asked. It is hashed as it is read, and kept nowhere."""
    hashed: HashedPrompt | None = None
    """What `prompt` came to, in a log without prompts."""
    model: Annotated[str, StringConstraints(max_length=200)] = ""
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    logprobs: bool = False
    """Whether token log-probabilities were asked for."""

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if (self.prompt is None) == (self.hashed is None):
            raise ValueError("a row has either prompt or hashed")
        if self.at.tzinfo is None:
            raise ValueError("at has no offset from UTC")
        return self
