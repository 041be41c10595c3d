"""Whoever answers prompts: fakes, recordings, local weights, GGUF files and HTTP endpoints.

`open_teacher` makes one from its spec; all speak the `Teacher` protocol. Importing this room
loads neither torch nor native code.
"""

from stillhouse.teachers._answers import check_top_logprobs
from stillhouse.teachers._base import Pull, Teacher, TeacherInfo
from stillhouse.teachers._fake import FakeOptions, FakeTeacher, ScriptedAnswer
from stillhouse.teachers._replay import ReplayTeacher
from stillhouse.teachers._spec import open_teacher
from stillhouse.teachers._weights import check_has_weights, open_weights

__all__ = [
    "open_teacher",
    "open_weights",
    "check_has_weights",
    "Teacher",
    "TeacherInfo",
    "Pull",
    "check_top_logprobs",
    "FakeTeacher",
    "FakeOptions",
    "ScriptedAnswer",
    "ReplayTeacher",
]
