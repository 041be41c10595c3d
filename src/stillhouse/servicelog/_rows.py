"""The rows of a log of requests."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Message, Record, Tool

SCHEMA_VERSION = 1


class LogAsked(Record):
    """What was asked, as far as the log keeps content."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    messages: tuple[Message, ...] = ()
    text: str | None = None
    """What was to be continued without any conversation."""
    tools: tuple[Tool, ...] = ()
    output_schema: str | None = None
    """JSON Schema of the answer, as JSON text."""
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    sha256: str | None = None
    """Of messages, text, tools and schema, where content is kept as hashes."""


class LogAnswer(Record):
    """One answer, as far as the log keeps content."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    text: str | None = None
    """As it was written, calls of tools in the student's own form."""
    finish_reason: str | None = None
    """Null where it was not ended."""
    num_tokens: int = 0
    sha256: str | None = None
    """Of the text, where content is kept as hashes."""


class RequestRow(Record):
    """One request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["request"] = "request"
    v: int = SCHEMA_VERSION
    id: str
    """The server's own; no two requests share it."""
    client_id: str | None = None
    """The caller's `x-request-id`."""
    at: datetime
    """When it came."""
    protocol: str
    """The path."""
    model: str
    """As the caller named it."""
    streamed: bool = False
    route: str
    """Who answered: `student`, `teacher`, or `server` where neither did."""
    reason: str
    """Why."""
    confidence: float | None = None
    """Of the student in its answer."""
    novelty: float | None = None
    """Of the text, where a gate tells it."""
    version: str
    """Of the student, or of the rule where there is a cascade."""
    teacher: str | None = None
    """Which model answered, where it was the teacher."""
    watermark: str | None = None
    """The profile that marked the answer."""
    audited: bool = False
    """Whether it is in the random slice of all requests that a teacher answers too."""
    asked: LogAsked | None = None
    answers: tuple[LogAnswer, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    queue_s: float | None = None
    """From its arrival to the moment at which its answer was begun; null where that is unknown."""
    first_s: float | None = None
    """From its arrival to the first piece of an answer."""
    seconds: float
    """From its arrival to its end."""
    status: int
    """HTTP, or what it would have been where a stream had begun; 499 where the caller went away."""
    error: str | None = None
    """What the caller was told where it was refused."""
    cancelled: bool = False
    """Whether the caller went away."""

    @property
    def from_teacher(self) -> bool:
        """Whether a teacher answered it."""
        return self.route == "teacher" and self.status == 200


class AuditRow(Record):
    """A request that the student answered and the teacher was asked about afterwards."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["audit"] = "audit"
    v: int = SCHEMA_VERSION
    id: str
    """Of the request."""
    at: datetime
    version: str
    teacher: str
    """Which model it was."""
    loss: float = Field(ge=0.0, le=1.0)
    """1 minus the score of the student's answer against the teacher's."""
    asked: LogAsked | None = None
    given: LogAnswer
    """The student's."""
    answer: LogAnswer
    """The teacher's."""


LogRow = Annotated[RequestRow | AuditRow, Field(discriminator="kind")]
RawRow = dict[str, Any]
"""A row as it is written."""
