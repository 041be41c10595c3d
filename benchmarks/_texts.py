"""What models write, and how likely they find what was written."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.losses import Head, token_logprobs
from stillhouse.models import (
    GenerationJob,
    LanguageModel,
    generate,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.records import Message

_BATCH = 16


def sampled_texts(
    model: LanguageModel,
    prompts: Sequence[Sequence[Message]],
    *,
    max_tokens: int,
    temperature: float,
    first_seed: int,
) -> list[EncodedExample]:
    """One text for each prompt, each with a seed of its own, counted from `first_seed`."""
    jobs = [
        GenerationJob(
            key=str(number),
            prompt_ids=model.chat.encode_prompt(messages),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=first_seed + number,
        )
        for number, messages in enumerate(prompts)
    ]
    return _drawn_texts(model, jobs)


def _drawn_texts(model: LanguageModel, jobs: Sequence[GenerationJob]) -> list[EncodedExample]:
    """One text for each job, in their order; keys must differ."""
    waiting = iter(jobs)
    drawn = {
        one.key: one.ids.tolist()
        for finished in generate(model, lambda limit: list(islice(waiting, limit)))
        for one in finished
    }
    return [EncodedExample((*job.prompt_ids, *drawn[job.key]), len(job.prompt_ids)) for job in jobs]


@torch.inference_mode()
def completion_logprobs(model: LanguageModel, examples: Sequence[EncodedExample]) -> list[Tensor]:
    """Log-probabilities of the tokens of each completion, nats; texts of like length are quick."""
    head = Head(output_head(model.network))
    logprobs: list[Tensor] = []
    for start in range(0, len(examples), _BATCH):
        part = examples[start : start + _BATCH]
        batch = predicting_batch(part)
        hidden_ND = predicting_hidden_states(model.network, batch)
        logprob_N = token_logprobs(hidden_ND, head, batch.target_ids_N)
        logprobs += logprob_N.split([len(example.completion_ids) for example in part])
    return logprobs


def num_tokens_learnt(student: Path) -> int:
    """Tokens of completions that a training counted, over all its steps."""
    lines = (student / "metrics.jsonl").read_text().splitlines()
    return sum(json.loads(line)["train/tokens"] for line in lines)
