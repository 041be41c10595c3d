"""What the models answered: read from their artefacts, prompt by prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stillhouse.artifacts import Artifact
from stillhouse.errors import DataError
from stillhouse.evaluate._arena._config import ArenaConfig
from stillhouse.records import Completion, Prompt, messages_identity


class Answer(NamedTuple):
    """What one model wrote to one prompt.

    Attributes:
        text: With its tool calls, as a judge reads it.
        is_cut: Whether it ended at `max_tokens`.
        model: What the endpoint says answered.
    """

    text: str
    is_cut: bool
    model: str


@dataclass(frozen=True)
class Entrant:
    """One model of the arena.

    Attributes:
        name: In the report.
        artifact: Its completions.
        answers: By place of the prompt; a prompt that it did not answer is not there.
    """

    name: str
    artifact: Artifact
    answers: Mapping[int, Answer]

    @property
    def teacher(self) -> str:
        """Id of who answered."""
        teacher = self.artifact.manifest.teacher
        return teacher.id if teacher else "unknown"

    @property
    def answered_by(self) -> tuple[str, ...]:
        """What the answers say wrote them."""
        return tuple(sorted({answer.model for answer in self.answers.values()}))


class Chosen(NamedTuple):
    """The prompts of an arena.

    Attributes:
        prompts: Those that are asked, each different.
        split: Where they are from: `held_out`, `train` or `all`.
        num_repeated: Prompts that ask what an earlier one asks.
    """

    prompts: list[Prompt]
    split: str
    num_repeated: int


def choose_prompts(prompts: Sequence[Prompt], config: ArenaConfig) -> Chosen:
    """The prompts that the settings ask for, in their order.

    Raises:
        DataError: there are none.
    """
    split = config.split
    if split == "auto":
        split = "held_out" if any(one.split == "held_out" for one in prompts) else "all"
    different: dict[str, Prompt] = {}
    num_repeated = 0
    for prompt in prompts:
        if split in ("all", prompt.split):
            identity = messages_identity(prompt.messages)
            num_repeated += identity in different
            # Whoever a collection would route it to: here every model is asked.
            different.setdefault(identity, prompt.model_copy(update={"teacher": None}))
    if not different:
        what = "no prompts" if not prompts else f"no {split} prompts among {len(prompts)}"
        raise DataError(f"There are {what} to compare models on. Add some, or set split=all.")
    return Chosen([*different.values()][: config.max_prompts], split, num_repeated)


def read_entrant(name: str, artifact: Artifact, prompts: Sequence[Prompt]) -> Entrant:
    """A model's answers to `prompts`, from the completions that it was collected into."""
    completions = completions_by_identity(artifact)
    answers = {}
    for place, prompt in enumerate(prompts):
        found = completions.get(messages_identity(prompt.messages))
        if found is not None:
            is_cut = found.finish_reason == "length"
            answers[place] = Answer(answer_text(found), is_cut, found.model)
    return Entrant(name, artifact, answers)


def completions_by_identity(artifact: Artifact) -> dict[str, Completion]:
    """The completions of an artefact by what was asked, whatever the prompts were called."""
    asked = {
        prompt.id: messages_identity(prompt.messages) for prompt in artifact.rows("prompts", Prompt)
    }
    return {asked[row.prompt_id]: row for row in artifact.rows("completions", Completion)}


def answer_text(completion: Completion) -> str:
    """A completion as a judge reads it: its text, and the tools that it calls."""
    calls = [f"[calls {call.name}({call.arguments})]" for call in completion.tool_calls]
    return "\n".join([completion.text, *calls] if completion.text else calls)
