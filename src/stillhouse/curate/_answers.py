"""The answers to a task: read one by one, added up by prompt, and checked as a whole."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from stillhouse.errors import DataError
from stillhouse.records import Completion, Prompt, Split
from stillhouse.tasks import Answer, AnswerTally, Task, TaskAnswer, answer_of, parse_answer

_NUM_SHOWN = 3
_MAX_SHOWN_CHARS = 80


class TaskAnswers:
    """All answers to one task.

    Args:
        task: The task.
        prompts: By id, in the order of the rows.
        allow_truncated: Whether labels and JSON that were cut off are read.

    Raises:
        DataError: a reference is no answer to the task.
    """

    def __init__(self, task: Task, prompts: Mapping[str, Prompt], *, allow_truncated: bool) -> None:
        self._task = task
        self._prompts = prompts
        self._allow_truncated = allow_truncated
        self._references = _references(task, prompts)
        self._tallies = {prompt_id: AnswerTally() for prompt_id in prompts}
        self._problems: Counter[str] = Counter()
        self._seen: list[str] = []
        self._valid: dict[Split, Counter[str]] = {"train": Counter(), "held_out": Counter()}
        self._asked: Counter[Split] = Counter()

    def add(self, completion: Completion) -> Answer:
        """Read a completion and count it."""
        answer = answer_of(self._task, completion, allow_truncated=self._allow_truncated)
        self._tallies[completion.prompt_id].add(self._task, completion, answer)
        split = self._prompts[completion.prompt_id].split
        self._asked[split] += 1
        if answer.text is not None:
            self._valid[split][answer.text] += 1
        else:
            self._problems[str(answer.problem)] += 1
            if len(self._seen) < _NUM_SHOWN:
                self._seen.append(str(answer)[:_MAX_SHOWN_CHARS])
        return answer

    def check(self) -> None:
        """Refuse answers that no student can learn from, or be measured on.

        Raises:
            DataError: a side of the split has answers and none is valid, or all that a
                classifier could learn from is one label.
        """
        for split, asked in self._asked.items():
            if not self._valid[split]:
                problems = ", ".join(f"{name} {n}" for name, n in self._problems.most_common())
                raise DataError(
                    f"None of {asked} {split} answers is one to task {self._task.name!r} "
                    f"({problems}), such as {'; '.join(self._seen)}. Correct the task or its "
                    "prompt, and ask again."
                )
        labels = self._valid["train"]
        if self._task.kind == "classification" and len(labels) == 1:
            (label,) = labels
            raise DataError(
                f"All {labels.total()} valid training answers to task {self._task.name!r} are "
                f"{label!r}. A classifier needs two labels or more: give texts of other labels."
            )

    def rows(self) -> Iterator[TaskAnswer]:
        """A row for each prompt."""
        for prompt_id, prompt in self._prompts.items():
            reference = self._references.get(prompt_id)
            yield self._tallies[prompt_id].row(prompt, reference=reference)

    def results(self) -> dict[str, Any]:
        """What was counted, for the manifest."""
        return {
            "prompts": len(self._tallies),
            "prompts_without_valid": sum(not tally.has_valid for tally in self._tallies.values()),
            "own_probabilities": sum(
                tally.has_own_probabilities for tally in self._tallies.values()
            ),
            "references": len(self._references),
            "answers": self._asked.total(),
            "invalid": dict(sorted(self._problems.items())),
        }


def _references(task: Task, prompts: Mapping[str, Prompt]) -> dict[str, str]:
    canonical: dict[str, str] = {}
    wrong: list[str] = []
    for prompt in prompts.values():
        if prompt.reference is None:
            continue
        answer = parse_answer(task, prompt.reference)
        if answer.text is None:
            wrong.append(f"{prompt.id!r} ({str(answer)[:_MAX_SHOWN_CHARS]})")
        else:
            canonical[prompt.id] = answer.text
    if wrong:
        raise DataError(
            f"The references of {len(wrong)} prompts are no answers to task {task.name!r}, such as "
            f"those of {', '.join(wrong[:_NUM_SHOWN])}. Correct the prompts, or add aliases to "
            "the task."
        )
    return canonical
