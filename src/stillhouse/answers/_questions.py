"""What students are asked: the text of each message and, for who needs it, the rest."""

from collections.abc import Sequence

from stillhouse.answers._given import Question
from stillhouse.artifacts import Artifact
from stillhouse.errors import DataError
from stillhouse.provenance import lineage
from stillhouse.records import Example, Message, Prompt
from stillhouse.tasks import TaskAnswer


def questions_of(
    rows: Sequence[TaskAnswer], dataset: Artifact, *, needs_messages: bool
) -> list[Question]:
    """One question a message, in the order of the rows.

    Args:
        rows: The messages.
        dataset: Where they are from.
        needs_messages: Whether whole conversations are needed, as language models do.

    Raises:
        DataError: the conversation of a message is not in the lineage of the dataset.
    """
    if not needs_messages:
        return [Question(row.text) for row in rows]
    messages = _messages(rows, dataset)
    return [Question(row.text, messages[row.prompt_id]) for row in rows]


def _messages(rows: Sequence[TaskAnswer], dataset: Artifact) -> dict[str, tuple[Message, ...]]:
    """From the examples or, where the teacher gave no valid answer, from what it was asked."""
    wanted = {row.prompt_id for row in rows}
    found = {
        example.prompt_id: example.messages
        for example in dataset.rows("examples", Example)
        if example.prompt_id in wanted
    }
    if len(found) < len(wanted):
        for node in lineage(dataset.path).nodes:
            if node.manifest.kind == "completions":
                for prompt in node.rows("prompts", Prompt):
                    if prompt.id in wanted:
                        found.setdefault(prompt.id, prompt.messages)
    if missing := sorted(wanted - found.keys()):
        raise DataError(
            f"The conversation of message {missing[0]!r} and of {len(missing) - 1} others "
            f"is neither among the examples of {dataset.path} nor among the prompts of its "
            "parents. Curate it again."
        )
    return found
