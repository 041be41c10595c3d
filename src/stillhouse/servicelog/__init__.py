"""What a server answered, one row for each request: written while it serves, read afterwards.

A log is a folder of JSON lines, which a server only ever appends to. `LogWriter` writes it in a
thread of its own, so that nobody who asks waits for a disk; `read_log` gives the rows of all files,
whatever the process that wrote them came to. Importing it loads no torch.
"""

from stillhouse.servicelog._config import LogConfig, LogContent
from stillhouse.servicelog._content import hidden, prepared
from stillhouse.servicelog._reader import LogRows, read_log
from stillhouse.servicelog._rows import (
    AuditRow,
    LogAnswer,
    LogAsked,
    LogRow,
    RequestRow,
)
from stillhouse.servicelog._writer import LogState, LogWriter

__all__ = [
    "LogConfig",
    "LogContent",
    # Writing
    "LogWriter",
    "LogState",
    "prepared",
    "hidden",
    # Reading
    "read_log",
    "LogRows",
    "LogRow",
    "RequestRow",
    "AuditRow",
    "LogAsked",
    "LogAnswer",
]
