"""Labels, fields and texts of the recommended student, as rows of tables."""

from dataclasses import dataclass

from stillhouse.evaluate._report._table import NOT_MEASURED, Cell
from stillhouse.evaluate._task._records import SystemResult, TaskEstimate
from stillhouse.evaluate._task._report._words import METHODS, NBSP, PER_CENT, share, share_interval
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import fixed


@dataclass(frozen=True)
class LabelRow:
    """One label: how often it is kept, and from how many messages one knows."""

    label: str
    recall: str
    interval: str
    n: str
    width: float
    """Of its bar, in percent."""


@dataclass(frozen=True)
class ConfusedRow:
    """Two labels that are taken for each other."""

    teacher: str
    student: str
    count: str
    share: str


@dataclass(frozen=True)
class FieldRow:
    """One field, with a cell for each student."""

    field: str
    cells: tuple[Cell, ...]


def label_rows(student: SystemResult) -> list[LabelRow]:
    """The labels with the lowest recall."""
    return [
        LabelRow(
            label=one.label,
            recall=share(one.recall),
            interval=f"{share_interval(one.recall)}, {METHODS[one.recall.method]}",
            n=f"{one.recall.n:,}",
            width=100 * one.recall.value,
        )
        for one in student.worst_labels
    ]


def confused_rows(student: SystemResult) -> list[ConfusedRow]:
    """The pairs that are most often confused."""
    return [
        ConfusedRow(
            teacher=one.teacher,
            student=one.student,
            count=f"{one.count:,}",
            share=f"{fixed(100 * one.count / one.n, 0)}{PER_CENT} of {one.n:,}",
        )
        for one in student.confused
    ]


def field_rows(results: TaskResults) -> list[FieldRow]:
    """All fields and the whole document: for each student against right answers, or the teacher."""
    students = results.students
    names = list(dict.fromkeys(field.field for one in students for field in one.fields))
    rows = [
        FieldRow(name, tuple(_field_cell(one, name, results) for one in students)) for name in names
    ]
    if any(one.document for one in students):
        whole = tuple(_document_cell(one, results) for one in students)
        rows.append(FieldRow("whole document", whole))
    return rows


def length_words(student: SystemResult) -> str:
    """How long the texts are beside the teacher's; empty where nobody knows."""
    text = student.text
    if text is None or text.words is None or text.teacher_words is None:
        return ""
    ours, theirs = text.words, text.teacher_words
    return (
        f"{fixed(ours.value, 1)} words on average [{fixed(ours.low, 1)} to {fixed(ours.high, 1)}], "
        f"the teacher's {fixed(theirs.value, 1)} [{fixed(theirs.low, 1)} to "
        f"{fixed(theirs.high, 1)}], n{NBSP}={NBSP}{ours.n:,}."
    )


def _field_cell(student: SystemResult, name: str, results: TaskResults) -> Cell:
    field = next((one for one in student.fields if one.field == name), None)
    if field is None:
        return Cell(NOT_MEASURED)
    return _cell(field.gold if results.metric == "gold" else field.agreement)


def _document_cell(student: SystemResult, results: TaskResults) -> Cell:
    if student.document is None:
        return Cell(NOT_MEASURED)
    whole = student.document
    return _cell(whole.gold if results.metric == "gold" else whole.agreement)


def _cell(one: TaskEstimate | None) -> Cell:
    if one is None:
        return Cell(NOT_MEASURED)
    return Cell(share(one), f"{share_interval(one)}, n = {one.n:,}")
