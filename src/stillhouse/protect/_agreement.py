"""How much models agree on the next token of given texts.

The overlap of two distributions is the sum over tokens of the smaller probability: 1 where they are
the same, 0 where they share nothing, and one less the chance of telling them apart by one token.

Letters: P texts, M models, J teachers, C controls, N positions, V vocabulary, D hidden.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stillhouse.chat import ChatTokenizer
from stillhouse.errors import DataError, RecordError
from stillhouse.models import (
    LanguageModel,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.protect._attribution import Agreements, Floats
from stillhouse.protect._reading import VocabularyView
from stillhouse.protect._texts import ScoredText, Text
from stillhouse.protect._weights import Ints, Windows
from stillhouse.runlog import Listener, Ticker

_HEAD_ROWS = 128

States = list[tuple[Tensor, Ints]]


def first_positions(
    texts: Sequence[Text], chat: ChatTokenizer, *, max_texts: int, max_tokens: int
) -> list[ScoredText]:
    """The first tokens of each answer, in the suspect's tokens.

    Raises:
        DataError: no text has any.
    """
    found: list[ScoredText] = []
    for text in texts:
        if len(found) >= max_texts:
            break
        try:
            ids = chat.encode_example(text.messages, text.completion).completion_ids
            chat.spans(ids, text.completion)
        except RecordError:  # it spells out a control token, or its tokens do not write it
            continue
        count = min(max_tokens, len(ids) - 1)  # what ends the turn is no text
        if count > 0:
            windows = Windows(np.arange(count), np.zeros(count, dtype=np.uint64))
            found.append(ScoredText(text.messages, text.completion, ids, windows, chat))
    if not found:
        raise DataError("No text has a token to compare models on. Give texts with answers.")
    return found


@torch.inference_mode()
def agreements(
    suspect: LanguageModel,
    teachers: Sequence[LanguageModel],
    controls: Iterator[LanguageModel],
    texts: Sequence[ScoredText],
    *,
    num_models: int,
    on_progress: Listener,
) -> Agreements:
    """The overlaps of all models with all teachers.

    Models with other tokens than the suspect's are compared where tokens begin in both, on what
    both vocabularies hold.

    Args:
        suspect: Whose tokens positions are in.
        teachers: Held in memory, as each model is compared with each.
        controls: Loaded one after the other.
        texts: What is read.
        num_models: Of all, for progress.
        on_progress: Told as models are done.

    Raises:
        DataError: a model shares no token with the suspect, or no position of a text.
    """
    ticker = Ticker(on_progress, stage="compare", total=num_models, unit="models")
    views = [VocabularyView(teacher, suspect.chat) for teacher in teachers]
    states = []
    for teacher, view in zip(teachers, views, strict=True):
        states.append(_states(teacher, view, texts))
        ticker.advance()
    heads = [output_head(teacher.network) for teacher in teachers]

    def teachers_of(place: int) -> list[_Side]:
        return [_Side(*states[j][place], heads[j], views[j].law) for j in range(len(teachers))]

    def against_teachers(model: LanguageModel) -> Floats:
        view = VocabularyView(model, suspect.chat)
        own, head = _states(model, view, texts), output_head(model.network)
        overlaps = [
            _overlaps([_Side(*own[place], head, view.law)], teachers_of(place))[0]
            for place in range(len(texts))
        ]
        ticker.advance()
        return np.stack(overlaps)

    suspect_PJ = against_teachers(suspect)
    controls_CPJ = np.stack([against_teachers(control) for control in controls])
    # With itself a teacher has what it gives to tokens of the vocabulary.
    between_PJJ = [_overlaps(teachers_of(place), None) for place in range(len(texts))]
    between = np.stack(between_PJJ, axis=1)
    kept_P = np.isfinite(suspect_PJ).all(axis=1) & np.isfinite(between).all(axis=(0, 2))
    kept_P &= np.isfinite(controls_CPJ).all(axis=(0, 2))
    if not kept_P.any():
        raise DataError(
            "The models have no position of any text in common. Give texts in their language."
        )
    return Agreements(suspect_PJ[kept_P], controls_CPJ[:, kept_P], between[:, kept_P])


@dataclass(frozen=True)
class _Side:
    """A model on one text.

    Attributes:
        hidden_ND: Of the positions that it could be asked for.
        asked_N: Which those are, rising.
        head_VD: Its output head.
        law: From logits to probabilities of the vocabulary that is compared.
    """

    hidden_ND: Tensor
    asked_N: Ints
    head_VD: Tensor
    law: Callable[[Tensor], Tensor]

    def block(self, start: int, stop: int) -> tuple[Ints, Tensor]:
        """The positions in a range, with their distributions."""
        first, last = np.searchsorted(self.asked_N, [start, stop])
        return self.asked_N[first:last], self.law(self.hidden_ND[first:last] @ self.head_VD.T)


def _states(model: LanguageModel, view: VocabularyView, texts: Sequence[ScoredText]) -> States:
    """Hidden states of each text's positions, and which positions they are."""
    found: States = []
    for text in texts:
        try:
            encoded = view.encode(text)
            places_N = view.places(text, encoded)
        except RecordError:
            found.append((torch.empty(0), np.empty(0, dtype=np.int64)))
            continue
        hidden = predicting_hidden_states(model.network, predicting_batch([encoded]))
        asked = np.flatnonzero(places_N >= 0)
        found.append((hidden[torch.from_numpy(places_N[asked])], asked))
    return found


def _overlaps(own: Sequence[_Side], others: Sequence[_Side] | None) -> Floats:
    """Of each with each, the mean over the positions that both have; NaN for none.

    Each distribution is computed once, whatever the number of those it is compared with.

    Args:
        own: The rows.
        others: The columns; None takes `own`.
    """
    sides = [*own, *(others or ())]
    columns = range(len(own), len(sides)) if others is not None else range(len(own))
    totals, counts = np.zeros((2, len(own), len(columns)))
    end = max((int(side.asked_N[-1]) + 1 for side in sides if len(side.asked_N)), default=0)
    for start in range(0, end, _HEAD_ROWS):
        blocks = [
            side.block(start, start + _HEAD_ROWS) if len(side.asked_N) else None for side in sides
        ]
        for row in range(len(own)):
            for column, place in enumerate(columns):
                one, other = blocks[row], blocks[place]
                if one is None or other is None:
                    continue
                common, first, second = np.intersect1d(one[0], other[0], return_indices=True)
                if not len(common):
                    continue
                p = one[1][torch.from_numpy(first)]
                q = other[1][torch.from_numpy(second)]
                totals[row, column] += float(torch.minimum(p, q).sum())
                counts[row, column] += len(common)
    with np.errstate(invalid="ignore"):
        means: Floats = totals / counts
    return means
