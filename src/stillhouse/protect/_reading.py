"""What a suspect, and a reference beside it, make of the next token in texts that they read.

Letters: N contexts, V vocabulary of the watermark, K tokens kept of each, D hidden, J the
tokens of a model's own text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stillhouse.chat import ChatTokenizer, EncodedExample
from stillhouse.errors import DataError, RecordError
from stillhouse.models import (
    LanguageModel,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.protect._texts import ScoredText
from stillhouse.protect._weights import Floats, Hashes, Ints, WeightedTokens, written_tokens
from stillhouse.runlog import Listener, Ticker

KEPT_TOKENS = 64
"""Of each context, those with the largest weights. Which ones depends on the models alone, so the
null law stays exact; what is left out costs power."""

_BATCH_TOKENS = 2_048
_HEAD_ROWS = 128


@dataclass(frozen=True)
class Reading:
    """The statistics of one suspect.

    Attributes:
        argmax: The suspect's likeliest token, weight 1.
        soft: Its largest probabilities.
        contrast: Where it and the reference differ most, p - q; None without a reference.
        roots: The same of square roots, sqrt(p) - sqrt(q).
        shared_share: Mean probability that the suspect gives to tokens of the watermark's
            vocabulary; 1 where the tokenizers are the same.
    """

    argmax: WeightedTokens
    soft: WeightedTokens
    contrast: WeightedTokens | None
    roots: WeightedTokens | None
    shared_share: float


class VocabularyView:
    """A model's next-token law in the watermark's vocabulary.

    Tokens of the same bytes are the same; one that the model does not have gets probability 0, and
    the law need not add up to 1. Weights of any size keep the test exact.

    Args:
        model: Whose law.
        watermark: The tokenizer that contexts and scores are in.
    """

    def __init__(self, model: LanguageModel, watermark: ChatTokenizer) -> None:
        self.is_same = model.chat.vocabulary_sha256 == watermark.vocabulary_sha256
        self._chat = model.chat
        self._width = len(watermark.text_bytes)
        if self.is_same:
            return
        theirs = {data: token for token, data in enumerate(model.chat.text_bytes) if data}
        pairs = [
            (ours, theirs[data])
            for ours, data in enumerate(watermark.text_bytes)
            if data and data in theirs
        ]
        if not pairs:
            raise DataError(
                f"{model.name} and {watermark.name} have no token in common, so nothing can be "
                "scored. Give a suspect whose tokens are text."
            )
        self._ours, self._theirs = (torch.tensor(side) for side in zip(*pairs, strict=True))

    def law(self, logits_NV: Tensor) -> Tensor:
        """Probabilities (N, V)."""
        probs = torch.softmax(logits_NV.float(), dim=1)
        if self.is_same:
            return probs[:, : self._width]  # heads are padded with rows of no token
        law_NV = torch.zeros(len(probs), self._width)
        law_NV[:, self._ours] = probs[:, self._theirs]
        return law_NV

    def encode(self, text: ScoredText) -> EncodedExample:
        """The text as the model reads it."""
        own = text.completion_ids if self.is_same else None
        return self._chat.encode_example(text.messages, text.completion, own)

    def places(self, text: ScoredText, encoded: EncodedExample) -> Ints:
        """For each scored position the model's token that begins there, or -1 where none does."""
        positions_N = text.windows.positions_N
        if self.is_same:
            return positions_N
        theirs = self._chat.spans(encoded.completion_ids, text.completion)
        starts_J = np.concatenate([[0], theirs.ends[: theirs.num_text - 1]])
        wanted_N = text.starts_T[positions_N]
        found_N = np.minimum(np.searchsorted(starts_J, wanted_N), len(starts_J) - 1)
        return np.where(starts_J[found_N] == wanted_N, found_N, -1)


@torch.inference_mode()
def read_texts(
    suspect: LanguageModel,
    reference: LanguageModel | None,
    texts: Sequence[ScoredText],
    watermark: ChatTokenizer,
    *,
    kept_tokens: int = KEPT_TOKENS,
    on_progress: Listener,
) -> Reading:
    """The statistics at every scored position that all models can be asked about.

    Args:
        suspect: Whose training is in question.
        reference: A model that cannot have seen the marked text, or None.
        texts: With the positions that count.
        watermark: The tokenizer of contexts and scores.
        kept_tokens: K.
        on_progress: Told as texts are read.

    Raises:
        DataError: a model shares no token with the watermark's vocabulary, or no position is left.
    """
    models = [suspect] if reference is None else [suspect, reference]
    views = [VocabularyView(model, watermark) for model in models]
    parts: list[_Part] = []
    ticker = Ticker(on_progress, stage="read", total=len(texts), unit="texts")
    for batch in _batches(texts, views):
        parts.append(_read_batch(models, views, batch, kept_tokens))
        ticker.advance(len(batch.texts))
    if not parts or not sum(len(part.contexts_N) for part in parts):
        raise DataError(
            "No context is left to test: no token of the texts begins where one of the suspect's "
            "begins. Give texts in the language of both tokenizers."
        )
    contexts_N = np.concatenate([part.contexts_N for part in parts])
    soft = WeightedTokens(contexts_N, *_joined([part.soft for part in parts]))
    contrast = roots = None
    if reference is not None:
        contrast = WeightedTokens(contexts_N, *_joined([part.contrast for part in parts]))
        roots = WeightedTokens(contexts_N, *_joined([part.roots for part in parts]))
    return Reading(
        argmax=written_tokens(contexts_N, soft.ids_NK[:, 0]),
        soft=soft,
        contrast=contrast,
        roots=roots,
        shared_share=float(np.concatenate([part.mass_N for part in parts]).mean()),
    )


@dataclass(frozen=True)
class _Batch:
    texts: list[ScoredText]
    encoded: list[list[EncodedExample]]  # by model
    places: list[list[Ints]]  # by model; -1 where a model cannot be asked


@dataclass(frozen=True)
class _Part:
    contexts_N: Hashes
    soft: tuple[Ints, Floats]
    contrast: tuple[Ints, Floats]
    roots: tuple[Ints, Floats]
    mass_N: Floats


def _batches(texts: Sequence[ScoredText], views: Sequence[VocabularyView]) -> Iterator[_Batch]:
    batch = _Batch([], [[] for _ in views], [[] for _ in views])
    for text in texts:
        try:
            encoded = [view.encode(text) for view in views]
            places = [view.places(text, one) for view, one in zip(views, encoded, strict=True)]
        except RecordError:  # its tokens do not write the text: nothing can be aligned
            continue
        width = max(len(one.ids) for one in encoded)
        held = max((len(one.ids) for side in batch.encoded for one in side), default=0)
        if batch.texts and (len(batch.texts) + 1) * max(width, held) > _BATCH_TOKENS:
            yield batch
            batch = _Batch([], [[] for _ in views], [[] for _ in views])
        batch.texts.append(text)
        for index in range(len(views)):
            batch.encoded[index].append(encoded[index])
            batch.places[index].append(places[index])
    if batch.texts:
        yield batch


def _read_batch(
    models: Sequence[LanguageModel],
    views: Sequence[VocabularyView],
    batch: _Batch,
    kept_tokens: int,
) -> _Part:
    asked = [
        np.logical_and.reduce([side[index] >= 0 for side in batch.places])
        for index in range(len(batch.texts))
    ]
    hidden, heads = [], []
    for model, encoded, places in zip(models, batch.encoded, batch.places, strict=True):
        states_ND = predicting_hidden_states(model.network, predicting_batch(encoded))
        starts = np.concatenate([[0], np.cumsum([len(one.completion_ids) for one in encoded])])
        rows = [
            start + place[ask] for start, place, ask in zip(starts, places, asked, strict=False)
        ]
        hidden.append(states_ND[torch.from_numpy(np.concatenate(rows))])
        heads.append(output_head(model.network))
    contexts = [text.windows.contexts_N[ask] for text, ask in zip(batch.texts, asked, strict=True)]
    soft: list[tuple[Ints, Floats]] = []
    contrast: list[tuple[Ints, Floats]] = []
    roots: list[tuple[Ints, Floats]] = []
    mass = []
    for start in range(0, len(hidden[0]), _HEAD_ROWS):
        part = slice(start, start + _HEAD_ROWS)
        laws = [
            view.law(states[part] @ head.T)
            for view, states, head in zip(views, hidden, heads, strict=True)
        ]
        mass.append(laws[0].sum(dim=1).double().numpy())
        soft.append(_largest(laws[0], laws[0], kept_tokens))
        if len(laws) == 2:
            difference = laws[0] - laws[1]
            contrast.append(_largest(difference.abs(), difference, kept_tokens))
            difference = laws[0].sqrt() - laws[1].sqrt()
            roots.append(_largest(difference.abs(), difference, kept_tokens))
    empty = (np.empty((0, kept_tokens), dtype=np.int64), np.empty((0, kept_tokens)))
    return _Part(
        contexts_N=np.concatenate(contexts),
        soft=_joined(soft or [empty]),
        contrast=_joined(contrast or [empty]),
        roots=_joined(roots or [empty]),
        mass_N=np.concatenate(mass) if mass else np.empty(0),
    )


def _largest(by_NV: Tensor, weights_NV: Tensor, count: int) -> tuple[Ints, Floats]:
    ids_NK = torch.topk(by_NV, min(count, by_NV.shape[1]), dim=1).indices
    return ids_NK.numpy(), torch.gather(weights_NV, 1, ids_NK).double().numpy()


def _joined(parts: Sequence[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    width = max(ids.shape[1] for ids, _ in parts)
    parts = [part for part in parts if len(part[0])] or [
        (np.empty((0, width), dtype=np.int64), np.empty((0, width)))
    ]
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([w for _, w in parts])
