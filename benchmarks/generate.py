"""How fast the teacher writes: our generation engine beside transformers' own.

    python benchmarks/generate.py [--prompts 128] [--rounds 2] [--json FILE]

The same weights (SmolLM2-135M-Instruct, float32), prompts and greedy decoding on both sides, in
two workloads: the demo's headlines (a shared instruction, at most 32 tokens, most end after 15)
and long texts (no system message, exactly 48 tokens). transformers gets one batch of all prompts,
padded left, which is how it is fastest. We run twice: with and without the 32 most likely tokens
of every step kept, which transformers is not asked for. The systems take turns and the best round
of each counts. Tokens are those up to the end of the turn.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _demo import demo_prompts
from _machine import machine
from _result import publish

HEADLINE_TOKENS = 32
LONG_TOKENS = 48
TOP_K = 32
STORY = "Write a long story about a {} who finds {}."
HEROES = ("baker", "sailor", "teacher", "farmer", "doctor", "painter", "gardener", "driver")
FINDS = ("an old map", "a lost dog", "a letter", "a key", "a hidden door", "a coin", "a violin")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=128, help="prompts of each workload")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each system")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    result = {
        "machine": machine(),
        "prompts": arguments.prompts,
        "rounds": arguments.rounds,
        "workloads": {
            name: race(messages[: arguments.prompts], limit, ends, arguments.rounds)
            for name, (messages, limit, ends) in workloads().items()
        },
    }
    publish(result, arguments.json)


def workloads() -> dict[str, tuple[list[Any], int, bool]]:
    """Messages, the most tokens of a completion, and whether the end-of-turn token ends it."""
    from stillhouse.records import Message

    headlines = [prompt.messages for prompt in demo_prompts()]
    stories = [
        (Message(role="user", content=STORY.format(hero, f"{find} in year {year}")),)
        for year in range(1900, 1910)
        for hero in HEROES
        for find in FINDS
    ]
    return {"headlines": (headlines, HEADLINE_TOKENS, True), "long": (stories, LONG_TOKENS, False)}


def race(messages: list[Any], limit: int, ends: bool, rounds: int) -> dict[str, Any]:
    """Completion tokens per second of each system, best of its rounds."""
    from stillhouse.models import load_model

    model = load_model("")
    prompts = [model.chat.encode_prompt(one) for one in messages]
    systems: dict[str, Callable[[], int]] = {
        "stillhouse": lambda: ours(model, prompts, limit, ends, top_k=0),
        "stillhouse_with_top32": lambda: ours(model, prompts, limit, ends, top_k=TOP_K),
        "transformers": lambda: theirs(model, prompts, limit, ends),
    }
    speeds: dict[str, list[float]] = {name: [] for name in systems}
    tokens: dict[str, int] = {}
    for _ in range(rounds):
        for name, run in systems.items():
            started_s = time.perf_counter()
            tokens[name] = run()
            speeds[name].append(tokens[name] / (time.perf_counter() - started_s))
    best = {name: max(values) for name, values in speeds.items()}
    return {
        "prompt_tokens_mean": sum(map(len, prompts)) / len(prompts),
        "completion_tokens": tokens,
        "tokens_per_s": best,
        "over_transformers": {name: best[name] / best["transformers"] for name in best},
    }


def ours(model: Any, prompts: list[Any], limit: int, ends: bool, *, top_k: int) -> int:
    """Generate with our engine; returns the number of tokens."""
    from stillhouse.chat import ChatTokenizer
    from stillhouse.models import GenerationJob, LanguageModel, generate

    if not ends:  # an id outside the vocabulary is never drawn
        chat = ChatTokenizer(model.chat.tokenizer, end_of_turn_ids=[2**31], name=model.name)
        model = LanguageModel(network=model.network, chat=chat, name=model.name)
    jobs = [
        GenerationJob(key=str(n), prompt_ids=prompt, max_tokens=limit, top_logprobs=top_k)
        for n, prompt in enumerate(prompts)
    ]

    def pull(wanted: int) -> list[Any]:
        taken, jobs[:] = jobs[:wanted], jobs[wanted:]
        return taken

    return sum(len(one.ids) for group in generate(model, pull) for one in group)


def theirs(model: Any, prompts: list[Any], limit: int, ends: bool) -> int:
    """Generate with transformers in one batch; returns the number of tokens."""
    import torch

    longest = max(map(len, prompts))
    pad = model.chat.tokenizer.pad_token_id or 0
    ids_BT = torch.full((len(prompts), longest), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask_BT[row, longest - len(prompt) :] = 1
    end_ids = sorted(model.chat.end_of_turn_ids)
    with torch.inference_mode():
        out_BT = model.network.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            max_new_tokens=limit,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=end_ids if ends else None,
        )
    if not ends:
        return int(out_BT[:, longest:].numel())
    is_end_BT = torch.isin(out_BT[:, longest:], torch.tensor(end_ids))
    return int((is_end_BT.cumsum(1) - is_end_BT.int() == 0).sum())


if __name__ == "__main__":
    main()
