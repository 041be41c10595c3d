"""Tasks: what a person wants done, what counts as an answer, and what teachers answered.

A task is a YAML file (`docs/tasks.md`). From it come the prompts that a teacher is asked, the one
canonical form of each answer, and the rows that students of the task are fitted to. Importing it
loads no torch; what reads JSON answers or probabilities is loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from stillhouse.tasks._answers import AnswerTally, TaskAnswer, answer_of, last_user_text
from stillhouse.tasks._labels import LABEL_SEPARATOR, fold
from stillhouse.tasks._logprobs import label_probabilities
from stillhouse.tasks._parse import Answer, AnswerProblem, answer_labels, parse_answer
from stillhouse.tasks._prompts import input_text, read_task_prompts, task_messages
from stillhouse.tasks._task import GRADERS_BY_KIND, GraderName, Task, TaskKind, read_task, task_of

if TYPE_CHECKING:
    from stillhouse.tasks._json import NotJsonError, read_json
    from stillhouse.tasks._likeliest import likeliest_answers

__all__ = [
    "Task",
    "TaskKind",
    "GraderName",
    "GRADERS_BY_KIND",
    "read_task",
    "task_of",
    "task_messages",
    "read_task_prompts",
    "input_text",
    "Answer",
    "AnswerProblem",
    "parse_answer",
    "answer_of",
    "answer_labels",
    "likeliest_answers",
    "LABEL_SEPARATOR",
    "fold",
    "read_json",
    "NotJsonError",
    "TaskAnswer",
    "AnswerTally",
    "last_user_text",
    "label_probabilities",
]

_LOADED_LATER = {
    "read_json": "_json",
    "NotJsonError": "_json",
    "likeliest_answers": "_likeliest",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LOADED_LATER[name]}"), name)
