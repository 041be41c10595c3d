"""The answers that a task allows, as tokens, with what they begin with in common held once.

A label is what the assistant says in its turn: its tokens are those that the model would have to
write, up to the token that ends the turn. Because the end is a token like any other, a label that
another one begins with ("card" and "card lost") is told apart without a rule of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stillhouse.chat import ChatTokenizer
from stillhouse.errors import ConfigError
from stillhouse.records import Message

ROOT = 0
"""The node that stands for the end of the prompt."""

_ANY_PROMPT = (Message(role="user", content="a"),)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelTrie:
    """M beginnings of L labels; a beginning comes before those that it begins.

    Attributes:
        labels: As given.
        completions: The tokens of each label, its end of turn included.
        end_ids: Every token that ends a turn; each of them ends a label.
        tokens_M: The last token of each beginning; that of the root is -1.
        parents_M: The beginning without that token; the root is its own.
        depths_M: Tokens of each beginning; 0 at the root.
        nodes_L: The beginning that is the whole label, its end of turn left out.
    """

    labels: tuple[str, ...]
    completions: tuple[tuple[int, ...], ...]
    end_ids: tuple[int, ...]
    tokens_M: Ints
    parents_M: Ints
    depths_M: Ints
    nodes_L: Ints

    @cached_property
    def children(self) -> tuple[dict[int, int], ...]:
        """For each beginning, the beginning that each token makes of it."""
        children: list[dict[int, int]] = [{} for _ in self.tokens_M]
        for node, (token, parent) in enumerate(zip(self.tokens_M, self.parents_M, strict=True)):
            if node != ROOT:
                children[parent][int(token)] = node
        return tuple(children)

    @cached_property
    def is_branching_M(self) -> npt.NDArray[np.bool_]:
        """Where there is a choice: more than one token, or a token and the end of the turn."""
        num_next_M = np.array([len(tokens) for tokens in self.children])
        num_next_M[self.nodes_L] += 1
        return num_next_M > 1

    @cached_property
    def holds_MM(self) -> npt.NDArray[np.bool_]:
        """Whether a beginning (row) begins with another (column); each does with itself."""
        held = np.eye(len(self.tokens_M), dtype=np.bool_)
        for node in range(1, len(held)):
            held[node] |= held[self.parents_M[node]]
        return held


def label_trie(chat: ChatTokenizer, labels: Sequence[str]) -> LabelTrie:
    """Encode `labels` as answers of the assistant and join what they share.

    A label has one tokenisation here, the one that its model is trained on. Others that spell the
    same text are not counted: a trained model gives them next to nothing.

    Args:
        chat: Of the model that is to answer.
        labels: At least two, none empty and no two alike.

    Raises:
        ConfigError: there are fewer than two, one is empty or there twice, or two of them are the
            same tokens.
        RecordError: a label spells out a control token.
    """
    _check(labels)
    completions = tuple(chat.encode_example(_ANY_PROMPT, label).completion_ids for label in labels)
    spelt: dict[tuple[int, ...], str] = {}
    for label, completion in zip(labels, completions, strict=True):
        if (other := spelt.setdefault(completion, label)) != label:
            raise ConfigError(
                f"{chat.name} reads the labels {other!r} and {label!r} as the same tokens, so it "
                "cannot answer with one and not the other. Reword one of them."
            )
    beginnings = sorted({ids[:end] for ids in completions for end in range(len(ids))}, key=_order)
    nodes = {ids: node for node, ids in enumerate(beginnings)}
    return LabelTrie(
        labels=tuple(labels),
        completions=completions,
        end_ids=chat.end_of_turn_ids,
        tokens_M=np.array([ids[-1] if ids else -1 for ids in beginnings], dtype=np.int64),
        parents_M=np.array([nodes[ids[:-1]] for ids in beginnings], dtype=np.int64),
        depths_M=np.array([len(ids) for ids in beginnings], dtype=np.int64),
        nodes_L=np.array([nodes[ids[:-1]] for ids in completions], dtype=np.int64),
    )


def _check(labels: Sequence[str]) -> None:
    if len(labels) < 2:
        raise ConfigError(
            f"{len(labels)} labels: a model needs at least two to choose between. Give them all."
        )
    seen: set[str] = set()
    for label in labels:
        if not label.strip():
            raise ConfigError(f"A label is {label!r}, which is no text. Name it or leave it out.")
        if label in seen:
            raise ConfigError(f"The label {label!r} is there twice. Give each label once.")
        seen.add(label)


def _order(ids: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return len(ids), ids
