"""What is to be forgotten, and which rows of collected answers that is."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stillhouse.artifacts import Artifact, open_artifact, row_at
from stillhouse.errors import ConfigError
from stillhouse.provenance._calls import RECORDED
from stillhouse.provenance._origin import origin_of
from stillhouse.provenance._row_history import place_of, row_history
from stillhouse.records import Completion, Example, Message, Prompt, messages_identity

What = Literal["row", "prompt", "group", "source", "teacher"]


@dataclass(frozen=True)
class Selection:
    """Rows that are to go.

    Attributes:
        what: By what they are named.
        value: The name: an id, a file, a teacher; of a row its place and artefact.
        messages: Of `row`: hashes of the conversations that the row was made of. What asks the same
            words goes too, in whatever artefact and under whatever id it is.
    """

    what: What
    value: str
    messages: frozenset[str] = frozenset()

    def has_prompt(self, prompt: Prompt) -> bool:
        """Whether a prompt goes, and with it all answers to it."""
        if self.what == "row":
            return messages_identity(prompt.messages) in self.messages
        if self.what == "prompt":
            return prompt.id == self.value
        return self.what == "group" and prompt.group == self.value

    def has_completion(self, completion: Completion, artifact: Artifact) -> bool:
        """Whether an answer goes for its own sake, whatever becomes of its prompt."""
        if self.what != "teacher":
            return False
        teacher = artifact.manifest.teacher
        named = completion.teacher or (teacher.id if teacher is not None else "")
        return self.value in (named, completion.model)

    def has_artifact(self, artifact: Artifact) -> bool:
        """Whether all rows go: what was imported from a source."""
        if self.what != "source":
            return False
        stage, config = origin_of(artifact)
        if stage != "import":
            return False
        digest = str(config.get("source_sha256", ""))
        is_digest = len(self.value) >= 12 and digest.startswith(self.value)
        return is_digest or artifact.manifest.results.get("source") == self.value


@dataclass(frozen=True)
class Matched:
    """What goes of an artefact with collected answers.

    Attributes:
        prompt_ids: Prompts that go.
        request_ids: Answers that go, those to these prompts among them.
        asked_ids: Prompts of which an answer goes.
        call_ids: The requests that these answers were first given to, as a ledger has them.
        num_left: Answers that stay.
    """

    prompt_ids: frozenset[str]
    request_ids: frozenset[str]
    asked_ids: frozenset[str]
    call_ids: frozenset[str]
    num_left: int


def select_row(folder: Path, row: int | str) -> Selection:
    """The selection of a row of any artefact: the conversations that it was made of.

    Raises:
        ConfigError: there is no such row, or nothing says what it was made of.
        IntegrityError: an artefact of the lineage is not sound.
    """
    artifact = open_artifact(folder)
    placed = row_at(artifact, place_of(artifact, row))
    found = set()
    history = row_history(folder, row)
    for call in history.calls:
        for place in (call.place, *call.copies):
            holder = open_artifact(Path(place.path))
            found |= _messages_of(holder, str(row_at(holder, place.row).row["prompt_id"]))
    if "messages" in placed.row:
        messages = [Message.model_validate(message) for message in placed.row["messages"]]
        found.add(messages_identity(tuple(messages)))
    if not found:
        raise ConfigError(
            f"Row {row} of {folder} leads to no prompt ({'; '.join(history.not_at_hand)}). Give "
            "the row of a dataset or of completions, or name it with --prompt."
        )
    return Selection("row", f"{row} of {folder.name}", frozenset(found))


def match(artifact: Artifact, selection: Selection) -> Matched:
    """What goes of a completions artefact."""
    takes_all = selection.has_artifact(artifact)
    prompt_ids = {
        prompt.id
        for prompt in artifact.rows("prompts", Prompt)
        if takes_all or selection.has_prompt(prompt)
    }
    request_ids, asked_ids, call_ids = set(), set(prompt_ids), set()
    num_left = 0
    for row in artifact.rows("completions", Completion):
        if row.prompt_id in prompt_ids or selection.has_completion(row, artifact):
            request_ids.add(row.request_id)
            asked_ids.add(row.prompt_id)
            call_ids.add((row.source or "").partition(RECORDED)[2] or row.request_id)
        else:
            num_left += 1
    return Matched(
        prompt_ids=frozenset(prompt_ids),
        request_ids=frozenset(request_ids),
        asked_ids=frozenset(asked_ids),
        call_ids=frozenset(call_ids),
        num_left=num_left,
    )


def matching_examples(artifact: Artifact, selection: Selection) -> Iterable[Example]:
    """The examples of a dataset that go by what they ask: of ones whose answers are elsewhere."""
    for example in artifact.rows("examples", Example):
        by_words = messages_identity(example.messages) in selection.messages
        by_id = selection.what == "prompt" and example.prompt_id == selection.value
        by_group = selection.what == "group" and example.group == selection.value
        if by_words or by_id or by_group:
            yield example


def _messages_of(artifact: Artifact, prompt_id: str) -> set[str]:
    return {
        messages_identity(prompt.messages)
        for prompt in artifact.rows("prompts", Prompt)
        if prompt.id == prompt_id
    }
