"""The states of a classifier's sentence encoder, as embeddings.

Letters: N inputs, D width.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillhouse.classifiers import Classifier
from stillhouse.serve._ask import RefusedError
from stillhouse.serve._embeddings import Embedded, Input, Vectors

if TYPE_CHECKING:
    from stillhouse.classifiers import FrozenEncoder


def encoder_of(classifier: Classifier) -> "FrozenEncoder | None":
    """What a classifier reads with; None where it counts n-grams."""
    if classifier.kind == "ngram":
        return None
    from stillhouse.classifiers import SentenceClassifier

    assert isinstance(classifier, SentenceClassifier)
    return classifier.encoder


def check_dimensions(encoder: "FrozenEncoder", dimensions: int | None) -> None:
    """See that the wanted width is the encoder's own.

    A cut state is not a smaller embedding: the encoder was not trained for that.

    Raises:
        RefusedError: it is another one.
    """
    width = encoder.shape.width
    if dimensions not in (None, width):
        raise RefusedError(
            400,
            f"'dimensions' is {dimensions}, and this student's embeddings have {width}. They do "
            "not keep their meaning when they are cut; leave it out.",
            param="dimensions",
        )


def unit_states(encoder: "FrozenEncoder", inputs: Sequence[Input]) -> Embedded:
    """(N, D) states of length 1, as clients that only multiply expect them.

    Raises:
        RefusedError: an input is longer than the encoder reads, or has ids of another tokenizer.
    """
    read = [_ids(encoder, given) for given in inputs]
    vectors_ND = np.stack([_unit(encoder.state(ids)) for ids in read])
    return Embedded(vectors_ND, sum(len(ids) for ids in read))


def _ids(encoder: "FrozenEncoder", given: Input) -> Sequence[int]:
    reader = encoder.reader
    if not isinstance(given, str):
        return _own_ids(encoder, given)
    ids = reader.whole_ids(given)
    if ids is None:
        raise _too_long(reader.max_tokens)
    return ids


def _own_ids(encoder: "FrozenEncoder", ids: tuple[int, ...]) -> tuple[int, ...]:
    """Ids as they are, where they can be the student's.

    Clients that count tokens send those of OpenAI's tokenizers, which would be read as other words.
    The marks around a text tell them apart.
    """
    reader = encoder.reader
    if len(ids) > reader.max_tokens:
        raise _too_long(reader.max_tokens)
    marks = reader.ids([""])[0]
    is_marked = not marks or (ids[0], ids[-1]) == (marks[0], marks[-1])
    if max(ids) >= encoder.shape.vocabulary or not is_marked:
        raise RefusedError(
            400,
            "The token ids of 'input' are not of this student's tokenizer, which begins and ends a "
            f"text with {marks} and has ids below {encoder.shape.vocabulary}. Send the text.",
            param="input",
        )
    return ids


def _too_long(max_tokens: int) -> RefusedError:
    return RefusedError(
        400,
        f"An input has more than the {max_tokens} tokens that this student reads. Shorten it.",
        param="input",
        code="context_length_exceeded",
    )


def _unit(state_D: Vectors) -> Vectors:
    length = float(np.linalg.norm(state_D))
    return state_D / np.float32(length) if length > 0 else state_D
