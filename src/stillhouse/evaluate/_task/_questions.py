"""What systems are asked: the text of each held-out message and, for who needs it, the rest."""

from stillhouse.artifacts import Artifact
from stillhouse.errors import DataError
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._systems._answers import Question
from stillhouse.provenance import lineage
from stillhouse.records import Example, Message, Prompt


def questions_of(held_out: HeldOut, dataset: Artifact, *, needs_messages: bool) -> list[Question]:
    """One question a message, in the order of the rows.

    Args:
        held_out: The messages.
        dataset: Where they are from.
        needs_messages: Whether whole conversations are needed, as language models do.

    Raises:
        DataError: the conversation of a message is not in the lineage of the dataset.
    """
    if not needs_messages:
        return [Question(row.text) for row in held_out.rows]
    messages = _messages(held_out, dataset)
    return [Question(row.text, messages[row.prompt_id]) for row in held_out.rows]


def _messages(held_out: HeldOut, dataset: Artifact) -> dict[str, tuple[Message, ...]]:
    """From the examples or, where the teacher gave no valid answer, from what it was asked."""
    wanted = {row.prompt_id for row in held_out.rows}
    found = {
        row.prompt_id: row.messages
        for row in dataset.rows("examples", Example)
        if row.prompt_id in wanted
    }
    if len(found) < len(wanted):
        for node in lineage(dataset.path).nodes:
            if node.manifest.kind == "completions":
                for prompt in node.rows("prompts", Prompt):
                    if prompt.id in wanted:
                        found.setdefault(prompt.id, prompt.messages)
    if missing := sorted(wanted - found.keys()):
        raise DataError(
            f"The conversation of held-out message {missing[0]!r} and of {len(missing) - 1} others "
            f"is neither among the examples of {dataset.path} nor among the prompts of its "
            "parents. Curate it again."
        )
    return found
