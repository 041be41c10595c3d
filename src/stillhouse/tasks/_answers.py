"""What teachers answered to a prompt, added up to one row that a student can be fitted to."""

from collections import Counter, defaultdict
from fractions import Fraction

from pydantic import ConfigDict, Field

from stillhouse.records import Completion, Prompt, Record, Request, Split
from stillhouse.tasks._logprobs import label_probabilities
from stillhouse.tasks._parse import Answer, parse_answer
from stillhouse.tasks._task import Task

_MAX_INVALID_CHARS = 200


class TaskAnswer(Record):
    """One prompt of a task with what was answered to it: the table `answers` of a dataset.

    Answers are canonical texts, as `parse_answer` gives them.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt_id: str
    text: str
    """What a student reads: the last message of the user."""
    split: Split = "train"
    group: str | None = None
    answer: str | None
    """The most frequent valid answer, where every teacher counts once; of equal ones the more
    probable, then the first given. None where no answer is valid."""
    probabilities: dict[str, float] = Field(default_factory=dict)
    """Of each answer, 1 in all: shares of the votes or, of teachers that give exact ones, their
    own probabilities; the mean over the teachers. Empty where no answer is valid."""
    num_answers: int = Field(ge=0)
    """Completions, whatever became of them."""
    num_invalid: int = Field(ge=0)
    invalid: tuple[str, ...] = ()
    """What was wrong with each invalid one, and what was seen."""
    reference: str | None = None
    """What a person says is right."""
    votes: dict[str, dict[str, int]] = Field(default_factory=dict)
    """By teacher, how often it gave which valid answer, in the order of the first time."""

    @property
    def by_teacher(self) -> dict[str, str]:
        """The most frequent valid answer of each teacher that gave one; of equal ones the first."""
        return {
            teacher: max(counts, key=counts.__getitem__)
            for teacher, counts in self.votes.items()
            if counts
        }


def answer_of(task: Task, completion: Completion, *, allow_truncated: bool = False) -> Answer:
    """What a completion answers to `task`.

    Args:
        task: The task.
        completion: A teacher's.
        allow_truncated: Whether a label or JSON that was cut off at `max_tokens` is read all the
            same. Text always is.
    """
    if completion.error is not None:
        return Answer(None, "error", completion.error.message)
    if completion.finish_reason == "content_filter":
        return Answer(None, "filtered")
    is_cut = completion.finish_reason == "length" and task.kind != "text"
    if is_cut and not allow_truncated and completion.text.strip():
        return Answer(None, "truncated", repr(completion.text.strip()))
    return parse_answer(task, completion.text)


class AnswerTally:
    """Adds up the answers to one prompt."""

    def __init__(self) -> None:
        self._num_answers = 0
        self._invalid: list[str] = []
        self._votes: dict[str, Counter[str]] = defaultdict(Counter)
        self._own: dict[str, list[dict[str, float] | None]] = defaultdict(list)

    def add(self, task: Task, completion: Completion, answer: Answer) -> None:
        """Count `answer`, which `completion` was read as."""
        self._num_answers += 1
        if answer.text is None:
            self._invalid.append(str(answer)[:_MAX_INVALID_CHARS])
            return
        teacher = completion.teacher or completion.model
        self._votes[teacher][answer.text] += 1
        self._own[teacher].append(label_probabilities(task, completion))

    @property
    def has_valid(self) -> bool:
        """Whether one answer is valid."""
        return bool(self._votes)

    @property
    def has_own_probabilities(self) -> bool:
        """Whether the probabilities of some teacher are its own, not shares of its votes."""
        return any(None not in own for own in self._own.values())

    def row(self, prompt: Prompt, *, reference: str | None) -> TaskAnswer:
        """The sum, as the row of `prompt`."""
        probabilities = self._probabilities()
        return TaskAnswer(
            prompt_id=prompt.id,
            text=last_user_text(prompt),
            split=prompt.split,
            group=prompt.group,
            answer=self._answer(probabilities),
            probabilities=probabilities,
            num_answers=self._num_answers,
            num_invalid=len(self._invalid),
            invalid=tuple(self._invalid),
            reference=reference,
            votes={teacher: dict(counts) for teacher, counts in self._votes.items()},
        )

    def _answer(self, probabilities: dict[str, float]) -> str | None:
        shares: dict[str, Fraction] = defaultdict(Fraction)  # exact, so that ties are ties
        for counts in self._votes.values():
            for text, times in counts.items():
                shares[text] += Fraction(times, counts.total())
        if not shares:
            return None
        return max(shares, key=lambda text: (shares[text], probabilities.get(text, 0.0)))

    def _probabilities(self) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for teacher, counts in self._votes.items():
            own = [found for found in self._own[teacher] if found is not None]
            if len(own) == len(self._own[teacher]):
                for found in own:
                    for text, probability in found.items():
                        sums[text] += probability / (len(own) * len(self._votes))
            else:
                for text, times in counts.items():
                    sums[text] += times / (counts.total() * len(self._votes))
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def last_user_text(asked: Prompt | Request) -> str:
    """The last message of the user; the last one of all where the user said nothing."""
    said = [message.content for message in asked.messages if message.role == "user"]
    return said[-1] if said else asked.messages[-1].content
