"""Text with the student's own distributions on it, and how far another model is from them.

Letters: T positions of a text, V vocabulary, K ids that the other model gave.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.chat import EncodedExample
from stillhouse.errors import DataError, RecordError
from stillhouse.export._fixtures import probe_prompts
from stillhouse.models import GenerationJob, LanguageModel, generate
from stillhouse.records import Example
from stillhouse.statistics import Interval, bounded_mean, clustered_bootstrap

TIE_NATS = 0.01
"""How far below the student's best token another one may be and still count as the same choice.

float16 alone moves logits by thousandths of a nat, so a choice between such tokens is a coin's.
"""
_ANSWER_TOKENS = 16  # of an answer to a built-in prompt: 24 of them are 384 positions
_LEAST_TAIL = 1e-12

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ProbeText:
    """A text and what the student expects at each position of its answer.

    Attributes:
        ids: Prompt and answer.
        num_prompt: How many of them are the prompt.
        logprobs_TV: float32, before each token of the answer.
        group: What the text hangs together with.
    """

    ids: tuple[int, ...]
    num_prompt: int
    logprobs_TV: Floats
    group: str

    @property
    def nats(self) -> npt.NDArray[np.float64]:
        """(T,) what each token of the answer costs the student."""
        answer_T = np.array(self.ids[self.num_prompt :])
        return np.asarray(-self.logprobs_TV[np.arange(len(answer_T)), answer_T], dtype=np.float64)


def built_in_probe(model: LanguageModel, num_positions: int) -> list[ProbeText]:
    """The student's own answers to the built-in prompts, drawn at temperature 1."""
    prompts = [model.chat.encode_prompt(messages) for messages in probe_prompts()]
    jobs = [
        GenerationJob(
            key=str(number), prompt_ids=ids, max_tokens=_ANSWER_TOKENS, temperature=1.0, seed=number
        )
        for number, ids in enumerate(prompts)
    ]
    waiting = iter(jobs)
    answers = {
        done.key: done.ids.tolist()
        for batch in generate(model, lambda count: list(islice(waiting, count)))
        for done in batch
    }
    texts = [
        EncodedExample((*ids, *answers[str(number)]), len(ids))
        for number, ids in enumerate(prompts)
    ]
    return _probe(model, texts, [f"text {number}" for number in range(len(texts))], num_positions)


def data_probe(
    model: LanguageModel, examples: Iterable[Example], num_positions: int
) -> list[ProbeText]:
    """Held-out answers of a dataset, as many as have the positions.

    Raises:
        DataError: there are none that the student can read.
    """
    texts, groups, total = [], [], 0
    for example in examples:
        if example.split != "held_out" or total >= num_positions:
            continue
        try:
            text = model.chat.encode_example(example.messages, example.completion)
        except RecordError:  # it spells out a control token, which no tokenizer is asked to read
            continue
        if len(text.ids) > model.context_tokens:
            continue
        texts.append(text)
        groups.append(example.group or example.prompt_id)
        total += len(text.completion_ids)
    if not texts:
        raise DataError(
            "The dataset has no held-out example that the student can read. Give one with some, or "
            "export without --data."
        )
    return _probe(model, texts, groups, num_positions)


def _probe(
    model: LanguageModel, texts: Sequence[EncodedExample], groups: Sequence[str], limit: int
) -> list[ProbeText]:
    found, left = [], limit
    for text, group in zip(texts, groups, strict=True):
        ids = text.ids[: text.num_prompt + left]
        if len(ids) > text.num_prompt:
            logprobs = network_logprobs(model.network, ids, text.num_prompt)
            found.append(ProbeText(ids, text.num_prompt, logprobs, group))
            left -= len(ids) - text.num_prompt
    return found


def network_logprobs(network: Any, ids: Sequence[int], num_prompt: int) -> Floats:
    """(T, V) what a network expects before each token of an answer.

    Args:
        network: A `transformers` causal language model.
        ids: Prompt and answer.
        num_prompt: How many of them are the prompt.
    """
    import torch

    with torch.inference_mode():
        logits_TV = network(torch.tensor([ids])).logits[0, num_prompt - 1 : -1]
        found: Floats = torch.log_softmax(logits_TV.float(), dim=-1).numpy()
    return found


@dataclass
class Distance:
    """What was found position by position, in the order of the probe.

    Attributes:
        kl: KL(student || other) in nats. Where only K ids of the other are known, all others are
            one outcome: the figure is then at most the whole divergence, and less by what is
            beyond the K likeliest ids.
        is_same: Whether the likeliest token is the same, to within `TIE_NATS`.
        is_equal: The same without the allowance.
        nats: What the token of the text costs the other model.
        groups: Of the texts.
    """

    kl: list[float] = field(default_factory=list)
    is_same: list[bool] = field(default_factory=list)
    is_equal: list[bool] = field(default_factory=list)
    nats: list[float] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def add(
        self,
        student_V: Floats,
        ids_K: npt.NDArray[np.int64],
        logprobs_K: npt.NDArray[np.float64],
        *,
        nats: float,
        group: str,
    ) -> None:
        """Count one position, of which the other's K likeliest ids are known, likeliest first."""
        expected_V = student_V.astype(np.float64)
        expected_K = expected_V[ids_K]
        self.kl.append(max(_kl(expected_K, logprobs_K, is_whole=len(ids_K) == len(student_V)), 0.0))
        best = float(expected_V.max())
        self.is_same.append(bool(expected_K[0] >= best - TIE_NATS))
        self.is_equal.append(bool(expected_K[0] == best))
        self.nats.append(nats)
        self.groups.append(group)

    def mean_kl(self) -> Interval:
        """Nats per position, resampled by text."""
        return clustered_bootstrap(self.kl, np.ones(len(self.kl)), clusters=self.groups)

    def p99_kl(self) -> float:
        """The 99th percentile."""
        return float(np.quantile(self.kl, 0.99))

    def top1(self, *, with_ties: bool) -> Interval:
        """The fraction of positions with the same choice; `with_ties` makes the allowance."""
        flags = self.is_same if with_ties else self.is_equal
        return bounded_mean(np.array(flags, dtype=np.float64), clusters=np.array(self.groups))


def _kl(
    expected_K: npt.NDArray[np.float64], logprobs_K: npt.NDArray[np.float64], *, is_whole: bool
) -> float:
    total = float(np.exp(expected_K) @ (expected_K - logprobs_K))
    if is_whole:
        return total
    tail = max(1.0 - float(np.exp(expected_K).sum()), _LEAST_TAIL)
    other_tail = max(1.0 - float(np.exp(logprobs_K).sum()), _LEAST_TAIL)
    return total + tail * float(np.log(tail / other_tail))
