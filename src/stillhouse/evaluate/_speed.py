"""How fast and how large: teacher and student side by side on the same prompts."""

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

from stillhouse.chat import ChatTokenizer
from stillhouse.models import GenerationJob, LanguageModel, generate, kv_cache_bytes_per_token

_ROUNDS = 3  # models take turns, and the best round counts: a busy machine only slows one down


class Speed(NamedTuple):
    """What one model reached.

    Attributes:
        tokens_per_s: Generated tokens of the whole batch over its wall time, prompts included.
        latency_s: Median time of one completion alone.
        memory_bytes: Weights and KV cache of the batch.
    """

    tokens_per_s: float
    latency_s: float
    memory_bytes: int


def measure_speed(
    models: Sequence[LanguageModel], prompts: Sequence[tuple[int, ...]], num_tokens: int
) -> list[Speed]:
    """Generate exactly `num_tokens` greedy tokens per prompt with each model, in turns.

    The end-of-turn token does not end a completion here, so that all models do the same work.
    """
    batch_s: list[list[float]] = [[] for _ in models]
    alone_s: list[list[float]] = [[] for _ in models]
    endless = [_without_end(model) for model in models]
    for round_number in range(_ROUNDS):
        for number, model in enumerate(endless):
            batch_s[number].append(_seconds(model, prompts, num_tokens))
            single = prompts[round_number % len(prompts)]
            alone_s[number].append(_seconds(model, [single], num_tokens))
    longest = max(len(prompt) for prompt in prompts) + num_tokens
    return [
        Speed(
            tokens_per_s=len(prompts) * num_tokens / min(batch_s[number]),
            latency_s=statistics.median(alone_s[number]),
            memory_bytes=4 * model.num_parameters
            + len(prompts) * longest * kv_cache_bytes_per_token(model),
        )
        for number, model in enumerate(models)
    ]


def _without_end(model: LanguageModel) -> LanguageModel:
    # An id outside the vocabulary is never drawn.
    chat = ChatTokenizer(model.chat.tokenizer, end_of_turn_ids=[2**31], name=model.name)
    return LanguageModel(network=model.network, chat=chat, name=model.name)


def _seconds(model: LanguageModel, prompts: Sequence[tuple[int, ...]], num_tokens: int) -> float:
    jobs = [
        GenerationJob(key=str(number), prompt_ids=prompt, max_tokens=num_tokens)
        for number, prompt in enumerate(prompts)
    ]

    def pull(limit: int) -> list[GenerationJob]:
        taken, jobs[:] = jobs[:limit], jobs[limit:]
        return taken

    started_s = time.perf_counter()
    for _ in generate(model, pull):
        pass
    return time.perf_counter() - started_s
