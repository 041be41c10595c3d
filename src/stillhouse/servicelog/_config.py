"""How requests are logged."""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record

LogContent = Literal["none", "hash", "full"]


class LogConfig(Record):
    """How a server logs its requests."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    folder: Path
    """Gets the files; made if it is missing. Nobody but its owner can read them."""
    content: LogContent = "full"
    """What is kept of texts: all of them, their SHA-256, or nothing. Only `full` can teach the next
    student."""
    scrub: bool = True
    """Whether personal data and secrets in kept texts are replaced by placeholders."""
    max_file_bytes: int = Field(default=64 << 20, ge=4096)
    """A file that has reached it is followed by another one; so is that of an earlier day."""
    max_waiting_rows: int = Field(default=10_000, ge=1)
    """Rows that wait to be written; more are dropped, and counted."""
    sync_s: float = Field(default=1.0, ge=0.0, le=3600.0)
    """The longest that a written row may wait for the disk itself, which matters when the machine
    fails; a process that is killed loses no written row."""
    retry_s: float = Field(default=1.0, gt=0.0, le=3600.0)
    """How long nothing is tried after the disk has refused a row."""
