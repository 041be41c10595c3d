"""What a mark does to texts: how likely, how long and how varied they are, beside unmarked ones.

SmolLM2-135M-Instruct writes a sentence about each title of news at temperature 1: the same prompts
and seeds with and without each mark, and once more unmarked with other seeds, which shows what
chance alone does. Log-probabilities are those of the model without the mark.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks._protect.options import Options
from benchmarks._protect.overhead import SCHEMES, mark_of
from benchmarks._protect.titles import news_titles

from stillhouse.models import GenerationJob, LanguageModel, generate, load_model
from stillhouse.records import Message
from stillhouse.watermark import LogitsMark

Sums = npt.NDArray[np.float64]

MAX_TOKENS = 80
RESAMPLES = 4_000
OTHER_SEEDS = 1_000_000
CHANCE = "unmarked, other seeds"
FIGURES = {
    "nats_per_token": (0, 1),
    "tokens": (1, 2),
    "cut_share": (3, 2),
    "distinct_1": (4, 7),
    "distinct_2": (5, 8),
    "distinct_3": (6, 9),
}
"""Each is the ratio of the sums of two columns of `sums_of`."""


def run(options: Options) -> dict[str, Any]:
    """Figures of each arm, and their changes against the unmarked texts of the same seeds."""
    model = load_model("")
    titles = news_titles(options.data, options.drift_texts)
    plain = _texts(model, titles, [None])
    arms = {CHANCE: _texts(model, titles, [None], OTHER_SEEDS)}
    print(CHANCE, changes(plain, arms[CHANCE]), flush=True)
    num_keys = options.drift_keys or options.drift_texts
    for scheme in SCHEMES:
        marks = [mark_of(scheme, model.chat.vocabulary_sha256, n) for n in range(num_keys)]
        arms[scheme] = _texts(model, titles, marks)
        print(scheme, changes(plain, arms[scheme]), flush=True)
    return {
        "texts": options.drift_texts,
        "keys": num_keys,
        "max_tokens": MAX_TOKENS,
        "unmarked": figures(plain),
        "changes": {name: changes(plain, sums) for name, sums in arms.items()},
    }


def figures(sums_P: Sums) -> dict[str, float]:
    """Of all texts together, from (P, 10) sums."""
    total = sums_P.sum(axis=0)
    return {name: float(total[up] / total[down]) for name, (up, down) in FIGURES.items()}


def changes(plain_P: Sums, marked_P: Sums) -> dict[str, dict[str, Any]]:
    """Each figure of marked texts by that of unmarked ones less 1, or less it for a share.

    Intervals are of paired texts (same prompt and seed), 95 %, by bootstrap.
    """
    rng = np.random.default_rng(8)
    rows = rng.integers(0, len(plain_P), (RESAMPLES, len(plain_P)))
    whole, drawn = (plain_P.sum(axis=0), marked_P.sum(axis=0)), ([], [])
    for some in rows:
        drawn[0].append(plain_P[some].sum(axis=0))
        drawn[1].append(marked_P[some].sum(axis=0))
    found = {}
    for name in FIGURES:
        spread = _change(name, np.array(drawn[0]), np.array(drawn[1]))
        found[name] = {
            "change": float(_change(name, *whole)),
            "interval": np.quantile(spread, [0.025, 0.975]).tolist(),
        }
    return found


def _change(name: str, plain: Sums, marked: Sums) -> Any:
    up, down = FIGURES[name]
    before, after = plain[..., up] / plain[..., down], marked[..., up] / marked[..., down]
    return after - before if name.endswith("share") else after / before - 1.0


def sums_of(ids: Sequence[int], logprobs: npt.NDArray[np.float32], is_cut: bool) -> list[float]:
    """Nats, tokens, 1, whether it was cut, then distinct n-grams and all of them, n = 1 to 3."""
    grams = [list(zip(*(ids[at:] for at in range(n)), strict=False)) for n in (1, 2, 3)]
    return [
        -float(logprobs.sum(dtype=np.float64)),
        len(ids),
        1.0,
        is_cut,
        *(len(set(some)) for some in grams),
        *(len(some) for some in grams),
    ]


def _texts(
    model: LanguageModel,
    titles: Sequence[str],
    marks: Sequence[LogitsMark | None],
    first_seed: int = 0,
) -> Sums:
    """(P, 10) of `sums_of`."""
    began_s = time.process_time()
    jobs = [
        GenerationJob(
            key=str(number),
            prompt_ids=model.chat.encode_prompt(
                (Message(role="user", content=f"Write one short sentence about: {title}"),)
            ),
            max_tokens=MAX_TOKENS,
            temperature=1.0,
            seed=first_seed + number,
            mark=marks[number % len(marks)],
        )
        for number, title in enumerate(titles)
    ]
    found = np.zeros((len(titles), 10))

    def pull(wanted: int) -> list[GenerationJob]:
        taken, jobs[:] = jobs[:wanted], jobs[wanted:]
        return taken

    for group in generate(model, pull, num_ids=len(model.chat.text_bytes)):
        for one in group:
            is_cut = int(one.ids[-1]) not in model.chat.end_of_turn_ids
            found[int(one.key)] = sums_of([int(i) for i in one.ids], one.logprobs, is_cut)
    print(f"{len(titles)} texts in {time.process_time() - began_s:.0f} s", flush=True)
    return found
