"""What a mark costs the one who generates: time for each token, and what the text becomes.

    cd benchmarks; python -m _protect.overhead [--rounds 6] [--tokens 64] [--texts 400] [--keys N]

Time: SmolLM2-135M-Instruct at temperature 1, no token ends a text, marked and unmarked take turns
in pairs and the median of the pairs' ratios counts. Processor time is told beside the clock: on a
machine with other work it is the steadier of the two. Text: the same prompts and seeds with
and without a mark; how likely the unmarked model finds each token, and how long texts become.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SCHEMES = ("gumbel", "dual_gumbel", "kgw", "synthid")
BATCHES = (1, 8)
RESAMPLES = 2_000


def main() -> None:
    from _machine import machine
    from _result import publish

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="pairs of runs for each figure")
    parser.add_argument("--tokens", type=int, default=64, help="of each text that is timed")
    parser.add_argument("--texts", type=int, default=400, help="for quality; 0 leaves it out")
    parser.add_argument("--keys", type=int, help="for quality; one for each text unless given")
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = run(
        rounds=given.rounds,
        tokens=given.tokens,
        texts=given.texts,
        keys=given.keys,
        schemes=given.schemes,
    )
    publish({"machine": machine(), **found}, given.json)


def run(
    *,
    rounds: int,
    tokens: int,
    texts: int,
    keys: int | None = None,
    schemes: Sequence[str] = SCHEMES,
) -> dict[str, Any]:
    """All figures of this file.

    Args:
        rounds: Pairs of runs for each scheme and batch.
        tokens: Of each text that is timed.
        texts: For quality; 0 leaves it out.
        keys: For quality; None takes one for each text.
        schemes: Which are measured.
    """
    from stillhouse.models import load_model

    model = load_model("")
    marks = {scheme: mark_of(scheme, model.chat.vocabulary_sha256) for scheme in schemes}
    result: dict[str, Any] = {
        "overhead": {
            scheme: {
                f"batch_{batch}": overhead(model, mark, batch, tokens, rounds) for batch in BATCHES
            }
            for scheme, mark in marks.items()
        }
    }
    if texts:
        result["quality"] = quality(model, schemes, texts, keys)
    return result


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


def quality(
    model: Any, schemes: Sequence[str], num_texts: int, num_keys: int | None = None
) -> dict[str, Any]:
    """How likely texts are under the unmarked model and how long, against the same seeds unmarked.

    Intervals are of paired texts (same prompt and seed), 95 %, by bootstrap. With a key for each
    text they tell what the scheme does to a text. With fewer keys, texts share what a key prefers
    in common contexts: the intervals are then too narrow, and tell of those keys alone.

    Args:
        model: What writes.
        schemes: Which are measured.
        num_texts: How many.
        num_keys: None for as many.
    """
    plain = texts_of(model, [None], num_texts)
    num_keys = num_keys or num_texts
    found: dict[str, Any] = {
        "texts": num_texts,
        "keys": num_keys,
        "unmarked_nll_nats": float(per_token(plain)),
    }
    for scheme in schemes:
        marks = [mark_of(scheme, model.chat.vocabulary_sha256, n) for n in range(num_keys)]
        marked = texts_of(model, marks, num_texts)
        changes = resampled(plain, marked)
        found[scheme] = {
            "nll_change": float(per_token(marked) / per_token(plain) - 1.0),
            "nll_change_interval": np.quantile(changes[:, 0], [0.025, 0.975]).tolist(),
            "length_change": float(marked[:, 1].mean() / plain[:, 1].mean() - 1.0),
            "length_change_interval": np.quantile(changes[:, 1], [0.025, 0.975]).tolist(),
        }
    return found


def per_token(texts_P2: np.ndarray) -> float:
    return float(texts_P2[:, 0].sum() / texts_P2[:, 1].sum())


def resampled(plain_P2: np.ndarray, marked_P2: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(8)
    rows = rng.integers(0, len(plain_P2), (RESAMPLES, len(plain_P2)))
    sums, other = plain_P2[rows].sum(axis=1), marked_P2[rows].sum(axis=1)
    nll = (other[:, 0] / other[:, 1]) / (sums[:, 0] / sums[:, 1]) - 1.0
    return np.stack([nll, other[:, 1] / sums[:, 1] - 1.0], axis=1)


def texts_of(model: Any, marks: Sequence[Any], num_texts: int) -> np.ndarray:
    """(texts, 2): summed negative log-probability at temperature 1 in nats, and tokens."""
    from generate import FINDS, HEROES
    from stillhouse.models import GenerationJob, generate
    from stillhouse.records import Message

    prompts = [
        f"Write three sentences about a {hero} who finds {find} in year {year}."
        for year in range(1900, 2000)
        for hero in HEROES
        for find in FINDS
    ]
    jobs = [
        GenerationJob(
            key=str(number),
            prompt_ids=model.chat.encode_prompt((Message(role="user", content=text),)),
            max_tokens=96,
            temperature=1.0,
            seed=number,
            mark=marks[number % len(marks)],
        )
        for number, text in enumerate(prompts[:num_texts])
    ]

    def pull(wanted: int) -> list[Any]:
        taken, jobs[:] = jobs[:wanted], jobs[wanted:]
        return taken

    found = np.zeros((num_texts, 2))
    for group in generate(model, pull, num_ids=len(model.chat.text_bytes)):
        for one in group:
            found[int(one.key)] = -one.logprobs.sum(), len(one.ids)
    return found


if __name__ == "__main__":
    main()
