"""Whoever answers prompts: fakes, recordings, local weights, GGUF files and HTTP endpoints.

`open_teacher` makes one from its spec; all speak the `Teacher` protocol. Importing this room
loads neither torch nor native code.
"""

from stillhouse.teachers._access import Access, GateOf
from stillhouse.teachers._answers import check_labels, check_top_logprobs
from stillhouse.teachers._base import NOT_SENT, Pull, Teacher, TeacherInfo
from stillhouse.teachers._batch import (
    QUEUE_FULL,
    BatchMissingError,
    BatchRefusedError,
    BatchUnclearError,
    RemoteBatch,
    SoughtBatch,
    name_of,
)
from stillhouse.teachers._costs import FREE
from stillhouse.teachers._dialects import MalformedAnswerError
from stillhouse.teachers._fake import FakeOptions, FakeTeacher, ScriptedAnswer
from stillhouse.teachers._prices import PriceTable, price_table, read_prices
from stillhouse.teachers._reading import read_answer
from stillhouse.teachers._replay import ReplayTeacher
from stillhouse.teachers._spec import may_read_labels, open_teacher
from stillhouse.teachers._weights import check_has_weights, open_weights

__all__ = [
    "open_teacher",
    "open_weights",
    "may_read_labels",
    "check_has_weights",
    "Access",
    "GateOf",
    "read_prices",
    "price_table",
    "PriceTable",
    "FREE",
    "read_answer",
    "MalformedAnswerError",
    "Teacher",
    "TeacherInfo",
    "Pull",
    "NOT_SENT",
    "RemoteBatch",
    "SoughtBatch",
    "name_of",
    "QUEUE_FULL",
    "BatchRefusedError",
    "BatchUnclearError",
    "BatchMissingError",
    "check_labels",
    "check_top_logprobs",
    "FakeTeacher",
    "FakeOptions",
    "ScriptedAnswer",
    "ReplayTeacher",
]
