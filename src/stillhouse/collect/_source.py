"""The prompts of a collection, read again and again without holding them in memory."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stillhouse.artifacts import file_sha256
from stillhouse.collect._prompts import Row, check_prompts, iterate_prompts
from stillhouse.collect._survey import Survey, Surveyor
from stillhouse.errors import DataError, RecordError
from stillhouse.records import Prompt, messages_identity
from stillhouse.runlog import ReadPosition
from stillhouse.teachers import Teacher, may_read_labels

START = ReadPosition(0, 0, "")
"""Before the first row."""


class Asked(NamedTuple):
    """A prompt that is asked, and the position after its row."""

    prompt: Prompt
    end: ReadPosition


class PromptSource:
    """Prompts from a file or a list.

    Attributes:
        path: The file; None for a list.
        file_sha256: Of the file's bytes, to remember its survey under; None for a list.

    Raises:
        ConfigError: the file is missing.
    """

    def __init__(self, prompts: Path | Sequence[Prompt]) -> None:
        self._prompts = prompts
        self.path = prompts if isinstance(prompts, Path) else None
        self.file_sha256: str | None = None
        self._stamp: tuple[int, ...] | None = None
        if isinstance(prompts, Path):
            self._where = str(prompts)
            next(iterate_prompts(prompts), None)  # a wrong path is told before it is hashed
            self._stamp = _stamp(prompts)
            self.file_sha256 = file_sha256(prompts)
        else:
            self._where = "The list of prompts"
            check_prompts(prompts, where=self._where)

    @property
    def looks_unchanged(self) -> bool:
        """Whether the file's size and time are those it was opened with: cheap, and no proof."""
        return not isinstance(self._prompts, Path) or _stamp(self._prompts) == self._stamp

    def survey(self, surveyor: Surveyor | None = None) -> Survey:
        """Read everything once, and refuse what no experiment can be made with.

        Args:
            surveyor: What knows the first rows already: they are not read.

        Raises:
            RecordError: a row is wrong, two have one id, or both splits ask the same.
            DataError: there are no prompts.
        """
        surveyor = surveyor or Surveyor()
        for row in self._rows(num_before=surveyor.mark.num_rows, start=surveyor.mark.end):
            surveyor.add(row)
        if not surveyor.mark.num_rows:
            raise DataError(f"{self._where} holds no prompts. Add at least one.")
        if surveyor.has_equal_ids():
            self._refuse_equal_ids()
        if surveyor.has_mixed_splits():
            self._refuse_mixed_splits()
        return surveyor.survey()

    def iterate(self, survey: Survey, after: ReadPosition = START) -> Iterator[Asked]:
        """Each row that is asked, from a position on.

        Raises:
            DataError: the file is not the one that was surveyed.
        """
        number = after.num_rows
        for row in self._rows(num_before=after.num_rows, start=after.offset_bytes):
            if number not in survey.repeats:
                position = ReadPosition(row.end, number + 1, survey.sha256)
                yield Asked(row.prompt, position)
            number += 1
        if number != survey.num_prompts:
            raise DataError(
                f"{self._where} has {number} rows, and had {survey.num_prompts} when it was first "
                "read: it changed meanwhile. Run the same command again; what was answered is kept."
            )

    def check_unchanged(self) -> None:
        """Refuse a file that has changed since it was opened.

        Raises:
            DataError: it has.
        """
        if not isinstance(self._prompts, Path):
            return
        try:
            is_the_same = file_sha256(self._prompts) == self.file_sha256
        except FileNotFoundError:
            is_the_same = False
        if not is_the_same:
            raise DataError(
                f"{self._where} changed while it was read. Run the same command again: what was "
                "answered is kept."
            )

    def _rows(self, *, num_before: int = 0, start: int = 0) -> Iterator[Row]:
        if isinstance(self._prompts, Path):
            yield from iterate_prompts(self._prompts, num_before=num_before, start=start)
            return
        for number in range(start, len(self._prompts)):
            yield Row(f"prompt {number + 1}", self._prompts[number], True, number + 1)

    def _refuse_equal_ids(self) -> None:
        places: dict[str, str] = {}
        for where, prompt, is_named, _ in self._rows():
            if is_named and prompt.id in places:
                raise RecordError(
                    f"{self._where}, {where}: the id {prompt.id!r} is that of {places[prompt.id]} "
                    "as well. Make ids unique, or leave them out."
                )
            places[prompt.id] = where

    def _refuse_mixed_splits(self) -> None:
        first_with: dict[str, Prompt] = {}
        for _, prompt, _, _ in self._rows():
            twin = first_with.setdefault(messages_identity(prompt.messages), prompt)
            if twin.split != prompt.split:
                raise RecordError(
                    f"{self._where}: prompts {twin.id!r} ({twin.split}) and {prompt.id!r} "
                    f"({prompt.split}) have the same messages. Remove one: measuring on what was "
                    "trained on says nothing."
                )


def asked_prompts(
    prompts: Path | Sequence[Prompt], teacher: str | Teacher | Mapping[str, str]
) -> Path | Sequence[Prompt]:
    """The prompts as a collection asks them: labels stand there only for teachers that read them.

    To any other, a task's labels are no part of what it is asked, so that they are none of what
    makes a collection another one either. A file is taken as it is.
    """
    if isinstance(prompts, Path) or _reads_labels(teacher):
        return prompts
    return [one.model_copy(update={"labels": ()}) if one.labels else one for one in prompts]


def _reads_labels(teacher: str | Teacher | Mapping[str, str]) -> bool:
    if isinstance(teacher, str):
        return may_read_labels(teacher)
    if isinstance(teacher, Mapping):
        return any(map(may_read_labels, teacher.values()))
    return teacher.info.reads_labels


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns
