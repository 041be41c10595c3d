"""The training rows of a dataset as tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

from stillhouse.artifacts import Artifact
from stillhouse.chat import ChatTokenizer, EncodedExample
from stillhouse.records import Example


@dataclass(frozen=True)
class TrainingRow:
    """One row, read and encoded.

    Attributes:
        example: As the dataset has it.
        encoded: As the student reads it.
        has_own_tokens: Whether its completion is the teacher's tokens and not its text tokenised.
    """

    example: Example
    encoded: EncodedExample
    has_own_tokens: bool


def training_rows(dataset: Artifact, chat: ChatTokenizer) -> Iterator[TrainingRow]:
    """Training examples; the teacher's own tokens count only under its own tokenizer."""
    tokenizer = dataset.manifest.tokenizer
    is_same = tokenizer is not None and tokenizer.sha256 == chat.vocabulary_sha256
    for example in dataset.rows("examples", Example):
        if example.split == "train":
            ids = example.completion_token_ids if is_same else None
            encoded = chat.encode_example(example.messages, example.completion, ids)
            yield TrainingRow(example, encoded, has_own_tokens=ids is not None)
