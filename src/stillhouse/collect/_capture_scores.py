"""What each codec wants to know of a teacher, read off one batch of text."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.collect._capture_config import CaptureConfig
from stillhouse.errors import ConfigError, VocabularyMismatchError
from stillhouse.losses import TILE_TOKENS, Head, draw_target, token_logprobs
from stillhouse.models import (
    LanguageModel,
    load_model,
    output_head,
    predicting_batch,
    predicting_hidden_states,
    top_logprobs,
)
from stillhouse.signal import (
    AdaptiveCodec,
    Codec,
    HeadCacheCodec,
    HeadCacheSignal,
    HiddenCodec,
    HiddenSignal,
    RelativeCodec,
    SampledCodec,
    SampledSignal,
    Signal,
    TokenCodec,
    TokenSignal,
    TopKCodec,
    TopKSignal,
)


class Scorer(Protocol):
    """Scores text with the teacher."""

    @property
    def codec(self) -> Codec[Any]:
        """What its signals are kept in."""
        ...

    def signals(self, examples: Sequence[EncodedExample]) -> Iterator[Signal]:
        """The signal of each example."""
        ...


def scorer_of(config: CaptureConfig, teacher: LanguageModel) -> Scorer:
    """The scorer of the codec that is asked for.

    Raises:
        ConfigError: more ids are asked for than the vocabulary has, or an architecture does more
            than a matrix product after the last layer.
        VocabularyMismatchError: the student of a `kl_cache` has other tokens.
    """
    top_k_codec = config.top_k_codec
    if top_k_codec is None:
        return _SCORERS[config.codec](config, teacher)
    size = output_head(teacher.network).shape[0]
    if config.top_k > size:
        raise ConfigError(f"top_k={config.top_k}, but the vocabulary has {size} tokens.")
    return _TopKScorer(top_k_codec, teacher)


class _TopKScorer:
    def __init__(
        self, codec: TopKCodec | AdaptiveCodec | RelativeCodec, teacher: LanguageModel
    ) -> None:
        self.codec = codec
        self._teacher = teacher

    def signals(self, examples: Sequence[EncodedExample]) -> Iterator[Signal]:
        for ids, logprobs in top_logprobs(self._teacher, examples, self.codec.top_k):
            yield TopKSignal.of(ids, logprobs)


class _HiddenScorer:
    def __init__(self, config: CaptureConfig, teacher: LanguageModel) -> None:
        self._teacher = teacher
        head_VD = output_head(teacher.network)
        self.codec = HiddenCodec(_shape(head_VD), head_sha256(head_VD), config.dtype)

    def signals(self, examples: Sequence[EncodedExample]) -> Iterator[Signal]:
        for hidden_nD in _hidden_states(self._teacher, examples):
            yield HiddenSignal(hidden_nD.numpy())


class _TiledScorer:
    """Turns tiles of the teacher's log-probabilities into arrays, and those into signals."""

    def __init__(self, config: CaptureConfig, teacher: LanguageModel) -> None:
        self._config = config
        self._teacher = teacher
        self._head_VD = output_head(teacher.network).detach()

    def _tiles(self, hidden_nD: Tensor) -> Iterator[Tensor]:
        for hidden_CD in torch.split(hidden_nD, TILE_TOKENS):
            yield torch.log_softmax(hidden_CD @ self._head_VD.T, dim=1)


class _SampledScorer(_TiledScorer):
    def __init__(self, config: CaptureConfig, teacher: LanguageModel) -> None:
        super().__init__(config, teacher)
        self.codec = SampledCodec(config.draws, config.flatten)

    def signals(self, examples: Sequence[EncodedExample]) -> Iterator[Signal]:
        hidden = _hidden_states(self._teacher, examples)
        for example, hidden_nD in zip(examples, hidden, strict=True):
            generator = torch.Generator().manual_seed(_seed(self._config.seed, example))
            tiles = [self._draw(tile, generator) for tile in self._tiles(hidden_nD)]
            yield SampledSignal(
                np.concatenate([ids for ids, _ in tiles]).astype(np.int32),
                np.concatenate([weights for _, weights in tiles]).astype(np.float32),
            )

    def _draw(
        self, logprobs_CV: Tensor, generator: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distinct ids in each row and their weights, which are 0 where a draw was repeated."""
        drawn = draw_target(
            logprobs_CV, self.codec.draws, flatten=self.codec.flatten, generator=generator
        )
        ids_CJ, order_CJ = drawn.ids_NJ.sort(dim=1)
        weights_CJ = drawn.weights_NJ.gather(1, order_CJ)
        is_same_CJJ = ids_CJ.unsqueeze(1) == ids_CJ.unsqueeze(2)
        is_first_CJ = torch.ones_like(ids_CJ, dtype=torch.bool)
        is_first_CJ[:, 1:] = ids_CJ[:, 1:] != ids_CJ[:, :-1]
        weights_CJ = weights_CJ * is_same_CJJ.sum(dim=2) * is_first_CJ
        return ids_CJ.numpy(), weights_CJ.numpy()


class _TokenScorer:
    codec = TokenCodec()

    def __init__(self, config: CaptureConfig, teacher: LanguageModel) -> None:
        self._teacher = teacher
        self._head = Head(output_head(teacher.network).detach())

    def signals(self, examples: Sequence[EncodedExample]) -> Iterator[Signal]:
        hidden = _hidden_states(self._teacher, examples)
        for example, hidden_nD in zip(examples, hidden, strict=True):
            ids_n = torch.tensor(example.completion_ids)
            yield TokenSignal(token_logprobs(hidden_nD, self._head, ids_n).numpy())


class _HeadCacheScorer(_TiledScorer):
    def __init__(self, config: CaptureConfig, teacher: LanguageModel) -> None:
        super().__init__(config, teacher)
        self._student_VD = self._student_head(config.student)
        self.codec = HeadCacheCodec(
            _shape(self._student_VD), head_sha256(self._student_VD), config.dtype
        )

    def signals(self, examples: Sequence[EncodedExample]) -> Iterator[Signal]:
        for hidden_nD in _hidden_states(self._teacher, examples):
            vectors, entropies = [], []
            for logprobs_CV in self._tiles(hidden_nD):
                probs_CV = logprobs_CV.exp()
                vectors.append(probs_CV @ self._student_VD)
                entropies.append(torch.where(probs_CV > 0, probs_CV * logprobs_CV, 0.0).sum(dim=1))
            yield HeadCacheSignal(torch.cat(vectors).numpy(), torch.cat(entropies).numpy())

    def _student_head(self, spec: str) -> Tensor:
        student = load_model(spec.removeprefix("local:"))
        if student.chat.vocabulary_sha256 != self._teacher.chat.vocabulary_sha256:
            raise VocabularyMismatchError(
                f"{spec} has other tokens than the teacher, so its head cannot read the teacher's "
                "distributions. Give a student with the teacher's tokenizer."
            )
        head_VD = output_head(student.network).detach().clone()
        if head_VD.shape[0] != self._head_VD.shape[0]:
            raise VocabularyMismatchError(
                f"The head of {spec} has {head_VD.shape[0]} rows, the teacher's "
                f"{self._head_VD.shape[0]}. Give a student with a head of as many rows."
            )
        return head_VD


_SCORERS: Mapping[str, Callable[[CaptureConfig, LanguageModel], Scorer]] = {
    "hidden": _HiddenScorer,
    "sampled": _SampledScorer,
    "actual": _TokenScorer,
    "kl_cache": _HeadCacheScorer,
}


@torch.inference_mode()
def _hidden_states(teacher: LanguageModel, examples: Sequence[EncodedExample]) -> Sequence[Tensor]:
    batch = predicting_batch(examples)
    lengths = [len(example.completion_ids) for example in examples]
    hidden_ND = predicting_hidden_states(teacher.network, batch)
    parts: Sequence[Tensor] = torch.split(hidden_ND, lengths)
    return parts


def head_sha256(head_VD: Tensor) -> str:
    """Fingerprint of a head: SHA-256 of its float32 bytes."""
    return hashlib.sha256(head_VD.detach().float().contiguous().numpy().data).hexdigest()


def _shape(head_VD: Tensor) -> tuple[int, int]:
    return int(head_VD.shape[0]), int(head_VD.shape[1])


def _seed(seed: int, example: EncodedExample) -> int:
    """Of an example's own draws, whatever batch it is in."""
    digest = hashlib.sha256(f"{seed} {example.signal_key}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
