"""The rows of a part that are chosen on, and those that are certified on; groups stay whole.

Letters: N prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse.pipeline._scan_config import ScanConfig
from stillhouse.pipeline._scan_rows import LoggedPrompt, stable_number
from stillhouse.tasks import AnswerTally, Task, TaskAnswer, answer_of, input_text


@dataclass(frozen=True)
class TaskRows:
    """Prompts with what was answered to them.

    Attributes:
        texts: N texts that a student reads.
        answers: N canonical answers; None where none is valid.
        groups: N names of what the prompts are about; a prompt without one is its own.
    """

    texts: tuple[str, ...]
    answers: tuple[str | None, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def of(self, places: Sequence[int]) -> "TaskRows":
        """The rows at these places."""
        return TaskRows(
            tuple(self.texts[place] for place in places),
            tuple(self.answers[place] for place in places),
            tuple(self.groups[place] for place in places),
        )

    def valid(self) -> "TaskRows":
        """The rows that have an answer."""
        return self.of([place for place, answer in enumerate(self.answers) if answer is not None])

    def learnt(self) -> tuple[str, ...]:
        """The answers of rows that all have one."""
        return tuple(answer for answer in self.answers if answer is not None)


def read_answers(rows: Sequence[LoggedPrompt], task: Task) -> list[TaskAnswer]:
    """What was answered to each prompt, read as answers to `task`."""
    found = []
    for row in rows:
        tally = AnswerTally()
        for completion in row.completions:
            tally.add(task, completion, answer_of(task, completion))
        found.append(tally.row(row.prompt, reference=None))
    return found


def task_rows(answers: Sequence[TaskAnswer], task: Task) -> TaskRows:
    """The rows, in the order given."""
    return TaskRows(
        texts=tuple(input_text(task, one.text) for one in answers),
        answers=tuple(one.answer for one in answers),
        groups=tuple(
            f"prompt {one.prompt_id}" if one.group is None else one.group for one in answers
        ),
    )


def split_rows(rows: TaskRows, config: ScanConfig) -> tuple[TaskRows, TaskRows]:
    """Rows to choose on, and independent rows to certify on.

    Of each group that is kept back one row is certified on: the others say nothing new.
    """
    order = sorted(set(rows.groups), key=lambda group: stable_number(config.seed + 1, group))
    wanted = min(round(config.certify_fraction * len(order)), config.max_certify)
    kept_back = set(order[:wanted])
    chosen_on = [place for place, group in enumerate(rows.groups) if group not in kept_back]
    first: dict[str, int] = {}
    for place, group in enumerate(rows.groups):
        if group in kept_back:
            first.setdefault(group, place)
    return rows.of(chosen_on), rows.of(list(first.values()))


def folds(rows: TaskRows, num_folds: int, *, seed: int) -> list[list[int]]:
    """Places in `rows` by fold, for as many folds as there are groups, at most `num_folds`."""
    order = sorted(set(rows.groups), key=lambda group: stable_number(seed + 2, group))
    number = {group: place % num_folds for place, group in enumerate(order)}
    found: list[list[int]] = [[] for _ in range(min(num_folds, len(order)))]
    for place, group in enumerate(rows.groups):
        found[number[group]].append(place)
    return found


def shuffled(rows: TaskRows, *, seed: int) -> TaskRows:
    """The rows by a hash of their group and text, so that any first part is a sample."""
    keys = [f"{group}\n{text}" for group, text in zip(rows.groups, rows.texts, strict=True)]
    order = sorted(range(len(rows)), key=lambda place: stable_number(seed + 3, keys[place]))
    return rows.of(order)
