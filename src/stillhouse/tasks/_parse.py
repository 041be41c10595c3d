"""Answers: one canonical text for all ways of saying the same, or what is wrong."""

from dataclasses import dataclass
from typing import Literal

from stillhouse.tasks._labels import (
    LABEL_SEPARATOR,
    named_labels,
    names_no_label,
    several_labels,
    spellings,
)
from stillhouse.tasks._task import Task

AnswerProblem = Literal[
    "error",
    "filtered",
    "truncated",
    "empty",
    "not_utf8",
    "unknown_label",
    "several_labels",
    "contradictory",
    "not_json",
    "schema",
]
_MAX_DETAIL_CHARS = 180


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a task.

    Attributes:
        text: Canonical: the label; of several labels, those in the order of the task, joined by
            ", "; canonical JSON; text without space around it. None where the answer is invalid.
        problem: Why it is invalid, None where it is valid.
        detail: What was seen, for people.
    """

    text: str | None
    problem: AnswerProblem | None = None
    detail: str = ""

    def __str__(self) -> str:
        """The answer, or its problem with what was seen."""
        if self.text is not None:
            return self.text
        return f"{self.problem}: {self.detail}" if self.detail else str(self.problem)


def parse_answer(task: Task, text: str) -> Answer:
    """What `text` answers to `task`.

    Labels are found exactly, then without case, spaces and punctuation, then by alias; JSON may
    stand in a ``` fence; text is taken as it is. Nothing is guessed, cut or repaired.
    """
    if not text.strip():
        return Answer(None, "empty")
    if not _is_utf8(text):
        return Answer(None, "not_utf8", "it holds a lone surrogate")
    if task.kind == "text":
        # The first line of code may be indented.
        return Answer(_whole_lines(text) if task.grader_name == "code" else text.strip())
    if task.kind == "extraction":
        return _json_answer(task, text)
    return _several(task, text) if task.multiple else _single(task, text)


def answer_labels(task: Task, answer: str) -> tuple[str, ...]:
    """The labels of a canonical answer: one, or any number where the task has `multiple`."""
    if not task.multiple:
        return (answer,)
    return tuple(answer.split(LABEL_SEPARATOR)) if answer else ()


def _single(task: Task, text: str) -> Answer:
    known = spellings(task.labels, tuple(task.aliases.items()))
    label = known.label_of(text)
    if label is not None:
        return Answer(label)
    labels = several_labels(text, known)
    if len(labels) > 1:
        shown = LABEL_SEPARATOR.join(sorted(labels))
        return Answer(None, "several_labels", _shown(shown))
    return Answer(labels.pop()) if labels else Answer(None, "unknown_label", _shown(text))


def _several(task: Task, text: str) -> Answer:
    known = spellings(task.labels, tuple(task.aliases.items()))
    whole = known.label_of(text)
    labels, stranger = ({whole}, None) if whole is not None else named_labels(text, known)
    if names_no_label(text.strip()) and whole is None:
        return Answer(task.out_of_scope or "")
    if stranger is not None or not labels:
        return Answer(None, "unknown_label", _shown(stranger or text))
    if task.out_of_scope in labels and len(labels) > 1:
        return Answer(None, "contradictory", _shown(text))
    return Answer(LABEL_SEPARATOR.join(label for label in task.labels if label in labels))


def _json_answer(task: Task, text: str) -> Answer:
    from stillhouse.tasks._json import NotJsonError, json_text, read_json, schema_problem

    try:
        value = read_json(text)
        canonical = json_text(value)
    except NotJsonError as err:
        return Answer(None, "not_json", f"{err} in {_shown(text)}")
    problem = schema_problem(value, task.schema_text)
    return Answer(canonical) if problem is None else Answer(None, "schema", problem)


def _whole_lines(text: str) -> str:
    lines = text.rstrip().split("\n")
    return "\n".join(lines[next(place for place, line in enumerate(lines) if line.strip()) :])


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    text = text.strip()
    return repr(text) if len(text) <= _MAX_DETAIL_CHARS else f"{text[:_MAX_DETAIL_CHARS]!r}..."
