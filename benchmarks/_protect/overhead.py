"""What a mark costs the one who generates: time for each token.

    cd benchmarks; python -m _protect.overhead [--rounds 6] [--tokens 64]

SmolLM2-135M-Instruct at temperature 1, no token ends a text, marked and unmarked take turns in
pairs and the median of the pairs' ratios counts. Processor time is told beside the clock: on a
machine with other work it is the steadier of the two.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SCHEMES = ("gumbel", "dual_gumbel", "kgw", "synthid")
BATCHES = (1, 8)


def main() -> None:
    from _machine import machine
    from _result import publish

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="pairs of runs for each figure")
    parser.add_argument("--tokens", type=int, default=64, help="of each text that is timed")
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = run(
        rounds=given.rounds,
        tokens=given.tokens,
        schemes=given.schemes,
    )
    publish({"machine": machine(), **found}, given.json)


def run(
    *,
    rounds: int,
    tokens: int,
    schemes: Sequence[str] = SCHEMES,
) -> dict[str, Any]:
    """All figures of this file.

    Args:
        rounds: Pairs of runs for each scheme and batch.
        tokens: Of each text that is timed.
        schemes: Which are measured.
    """
    from stillhouse.models import load_model

    model = load_model("")
    marks = {scheme: mark_of(scheme, model.chat.vocabulary_sha256) for scheme in schemes}
    return {
        "overhead": {
            scheme: {
                f"batch_{batch}": overhead(model, mark, batch, tokens, rounds) for batch in BATCHES
            }
            for scheme, mark in marks.items()
        }
    }


def mark_of(scheme: str, tokenizer_sha256: str, number: int = 0) -> Any:
    from stillhouse.watermark import Profile, WatermarkKey, make_mark

    key = WatermarkKey(bytes(24) + number.to_bytes(8, "big"))
    given = {"scheme": scheme, "tokenizer_sha256": tokenizer_sha256, "key_id": key.key_id}
    return make_mark(Profile.model_validate(given), key)


def overhead(model: Any, mark: Any, batch: int, tokens: int, rounds: int) -> dict[str, float]:
    """Time with the mark over time without, for each token that is drawn after the prompts."""
    pairs = []
    for number in range(rounds):
        both = {}
        order = (None, mark) if number % 2 == 0 else (mark, None)
        for one in order:
            both[one is not None] = timed(model, one, batch, tokens, seed=number)
        pairs.append((both[True], both[False]))
    ratios = np.array([[m[place] / p[place] for place in (0, 1)] for m, p in pairs])
    return {
        "clock_ratio": float(np.median(ratios[:, 0])),
        "processor_ratio": float(np.median(ratios[:, 1])),
        "unmarked_ms_per_step": 1e3 * float(np.median([p[0] for _, p in pairs])) / tokens,
        "added_processor_ms_per_token": 1e3
        * float(np.median([m[1] - p[1] for m, p in pairs]))
        / (tokens * batch),
    }


def timed(model: Any, mark: Any, batch: int, tokens: int, seed: int) -> tuple[float, float]:
    """Seconds by the clock and of the processor from the first token of all texts to the last."""
    from stillhouse.chat import ChatTokenizer
    from stillhouse.models import GenerationJob, GenerationSession, LanguageModel
    from stillhouse.records import Message

    # An id outside the vocabulary is never drawn: all texts have the same length.
    chat = ChatTokenizer(model.chat.tokenizer, end_of_turn_ids=[2**31], name=model.name)
    session = GenerationSession(
        LanguageModel(network=model.network, chat=chat, name=model.name), max_slots=batch
    )
    ids = model.chat.encode_prompt((Message(role="user", content="Write a long story."),))
    for number in range(batch):
        session.add(
            GenerationJob(
                key=str(number), prompt_ids=ids, max_tokens=tokens, temperature=1.0,
                seed=1000 * seed + number, mark=mark,
            )
        )  # fmt: skip
    session.step()
    clock_s, processor_s = time.perf_counter(), time.process_time()
    while not session.is_idle:
        session.step()
    return time.perf_counter() - clock_s, time.process_time() - processor_s


if __name__ == "__main__":
    main()
