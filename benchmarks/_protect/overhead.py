"""What a mark costs the one who generates: time for each token.

    cd benchmarks; python -m _protect.overhead [--rounds 3] [--tokens 48]

SmolLM2-135M-Instruct at temperature 1, no token ends a text; a marked and an unmarked batch take
their steps in turn, and the median of the ratios of such pairs counts. Processor time is told
beside the clock: on a machine with other work it is the steadier of the two.
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
    parser.add_argument("--rounds", type=int, default=3, help="pairs of batches for each figure")
    parser.add_argument("--tokens", type=int, default=48, help="of each text that is timed")
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
        rounds: Pairs of batches for each scheme and size.
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


def overhead(model: Any, mark: Any, batch: int, tokens: int, rounds: int) -> dict[str, Any]:
    """Time of a step with the mark over one without, for the tokens after the first of each text.

    Two batches stand side by side and take steps in turn: whatever else the machine does, it does
    to both. The median of all pairs of steps counts; its interval is of 95 %, by bootstrap.
    """
    pairs_S22 = np.concatenate(
        [step_pairs(model, mark, batch, tokens, seed=number) for number in range(rounds)]
    )
    ratios_S2 = pairs_S22[:, 1] / pairs_S22[:, 0]
    rows = np.random.default_rng(8).integers(0, len(ratios_S2), (RESAMPLES, len(ratios_S2)))
    spread = np.median(ratios_S2[rows, 1], axis=1)
    return {
        "steps": len(ratios_S2),
        "clock_ratio": float(np.median(ratios_S2[:, 0])),
        "processor_ratio": float(np.median(ratios_S2[:, 1])),
        "processor_ratio_interval": np.quantile(spread, [0.025, 0.975]).tolist(),
        "unmarked_ms_per_step": 1e3 * float(np.median(pairs_S22[:, 0, 0])),
        "unmarked_processor_ms_per_step": 1e3 * float(np.median(pairs_S22[:, 0, 1])),
        "added_processor_ms_per_token": 1e3
        * float(np.median(pairs_S22[:, 1, 1] - pairs_S22[:, 0, 1]))
        / batch,
    }


def step_pairs(model: Any, mark: Any, batch: int, tokens: int, seed: int) -> np.ndarray:
    """(steps, 2, 2) seconds without and with the mark, by the clock and of the processor."""
    sessions = [session_of(model, one, batch, tokens, seed) for one in (None, mark)]
    for session in sessions:
        session.step()
    found = np.zeros((tokens - 1, 2, 2))
    for number in range(tokens - 1):
        for place in (0, 1) if (number + seed) % 2 == 0 else (1, 0):
            clock_s, processor_s = time.perf_counter(), time.process_time()
            sessions[place].step()
            found[number, place] = (
                time.perf_counter() - clock_s,
                time.process_time() - processor_s,
            )
    return found


def session_of(model: Any, mark: Any, batch: int, tokens: int, seed: int) -> Any:
    """Texts of the same length that have yet to be begun."""
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
    return session


if __name__ == "__main__":
    main()
