"""What each model writes for the held-out prompts, under the teacher's own sampling."""

from collections.abc import Sequence
from typing import NamedTuple

from stillhouse.models import GenerationJob, LanguageModel, generate
from stillhouse.records import Example, Prompt, Request, Sampling


class Written(NamedTuple):
    """What a model wrote.

    Attributes:
        texts: One per prompt, in order.
        num_tokens: Generated for all of them.
    """

    texts: list[str]
    num_tokens: int


def write_texts(model: LanguageModel, examples: Sequence[Example], sampling: Sampling) -> Written:
    """One completion per example; seeds depend on prompt, model and sampling only."""
    jobs = [_job(model, example, sampling, index) for index, example in enumerate(examples)]
    texts = [""] * len(jobs)
    num_tokens = 0

    def pull(limit: int) -> list[GenerationJob]:
        taken, jobs[:] = jobs[:limit], jobs[limit:]
        return taken

    for group in generate(model, pull):
        for generated in group:
            text, _ = model.chat.decode_completion(generated.ids.tolist())
            texts[int(generated.key)] = text
            num_tokens += len(generated.ids)
    return Written(texts, num_tokens)


def _job(model: LanguageModel, example: Example, sampling: Sampling, index: int) -> GenerationJob:
    prompt = Prompt(id=example.prompt_id, messages=example.messages)
    request = Request.of(prompt, teacher=model.name, sampling=sampling)
    return GenerationJob(
        key=str(index),
        prompt_ids=model.chat.encode_prompt(example.messages),
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=request.seed,
    )
