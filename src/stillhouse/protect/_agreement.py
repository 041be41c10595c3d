"""How much models agree on the next token of given texts.

The overlap of two distributions is the sum over tokens of the smaller probability: 1 where they are
the same, 0 where they share nothing, and one less the chance of telling them apart by one token.

Letters: P texts, M models, J teachers, C controls, N positions, V vocabulary, D hidden.
"""

from collections.abc import Callable, Iterator, Sequence

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

    def against_teachers(model: LanguageModel) -> Floats:
        view = VocabularyView(model, suspect.chat)
        own, head = _states(model, view, texts), output_head(model.network)
        overlaps = np.empty((len(texts), len(teachers)))
        for place in range(len(texts)):
            for j in range(len(teachers)):
                overlaps[place, j] = _overlap(
                    (*own[place], head, view.law), (*states[j][place], heads[j], views[j].law)
                )
        ticker.advance()
        return overlaps

    suspect_PJ = against_teachers(suspect)
    controls_CPJ = np.stack([against_teachers(control) for control in controls])
    between = np.stack([_between(j, texts, states, heads, views) for j in range(len(teachers))])
    kept_P = np.isfinite(suspect_PJ).all(axis=1) & np.isfinite(between).all(axis=(0, 2))
    kept_P &= np.isfinite(controls_CPJ).all(axis=(0, 2))
    if not kept_P.any():
        raise DataError(
            "The models have no position of any text in common. Give texts in their language."
        )
    return Agreements(suspect_PJ[kept_P], controls_CPJ[:, kept_P], between[:, kept_P])


_Side = tuple[Tensor, Ints, Tensor, Callable[[Tensor], Tensor]]


def _between(
    j: int,
    texts: Sequence[ScoredText],
    states: Sequence[States],
    heads: Sequence[Tensor],
    views: Sequence[VocabularyView],
) -> Floats:
    """Of one teacher with all, (P, J); with itself what it gives to tokens of the vocabulary."""
    overlaps = np.empty((len(texts), len(states)))
    for place in range(len(texts)):
        own = (*states[j][place], heads[j], views[j].law)
        for k in range(len(states)):
            other = (*states[k][place], heads[k], views[k].law)
            overlaps[place, k] = _overlap(own, other)
    return overlaps


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


def _overlap(one: _Side, other: _Side) -> float:
    """Mean over the positions that both have; NaN for none."""
    states_one, asked_one, head_one, law_one = one
    states_other, asked_other, head_other, law_other = other
    common, first, second = np.intersect1d(asked_one, asked_other, return_indices=True)
    if not len(common):
        return float("nan")
    total = 0.0
    for start in range(0, len(common), _HEAD_ROWS):
        part = slice(start, start + _HEAD_ROWS)
        p = law_one(states_one[torch.from_numpy(first[part])] @ head_one.T)
        q = law_other(states_other[torch.from_numpy(second[part])] @ head_other.T)
        total += float(torch.minimum(p, q).sum())
    return total / len(common)
