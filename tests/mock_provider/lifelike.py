"""Log-probabilities as a model's are: for figures of size and speed, where made-up ones would lie.

Texts are drawn from 20,000 words of uneven frequency. At each place the model is more or less
sure: the gaps between its choices are drawn anew, and single-precision numbers are written with the
digits that OpenAI writes (`-0.31725305`). No two places have the same choices, so nothing
compresses that would not compress in earnest.
"""

import random
from functools import cache
from itertools import accumulate
from math import exp, log
from struct import pack, unpack
from typing import Any

_SEED = 20261124
_NUM_WORDS = 20_000
_ONSETS = (*"bcdfghjklmnprstvw", "st", "tr", "pr", "ch", "sh")
_NUCLEI = (*"aeiou", "ea", "ou", "io", "ee", "ai")
_CODAS = ("", "", *"nrstl", "ng", "st", "ck")
_MEAN_GAP = 0.45  # nats between neighbours; the 20th choice is then about 9 nats below the first


def lifelike_content(num_tokens: int, num_top: int, number: int) -> tuple[str, list[Any]]:
    """A text and its `logprobs.content` in the chat dialect, others for each number."""
    draw = random.Random(_SEED + number)
    words, weights = _vocabulary()
    content = []
    for _ in range(num_tokens):
        choices = list(dict.fromkeys(draw.choices(words, cum_weights=weights, k=3 * num_top)))
        while len(choices) < num_top + 1:
            choices = list(dict.fromkeys([*choices, draw.choice(words)]))
        logprobs = _logprobs(draw, num_top)
        # One token in 100 is none of the most probable ones.
        rank = min(range(num_top), key=lambda at: -logprobs[at] + draw.expovariate(1.0))
        tops = [_entry(word, logprob) for word, logprob in zip(choices, logprobs, strict=False)]
        taken = tops[rank] if draw.random() > 0.01 else _entry(choices[num_top], logprobs[-1] - 1.5)
        content.append({**taken, "top_logprobs": tops})
    return "".join(one["token"] for one in content), content


@cache
def _vocabulary() -> tuple[list[str], list[float]]:
    """Words, and the running sums of their weights: the n-th of them is drawn as 1 / n."""
    draw = random.Random(_SEED)
    words: dict[str, None] = {}
    while len(words) < _NUM_WORDS:
        syllables = (
            draw.choice(_ONSETS) + draw.choice(_NUCLEI) + draw.choice(_CODAS)
            for _ in range(draw.choice((1, 1, 2, 2, 3)))
        )
        words[" " * (draw.random() < 0.8) + "".join(syllables)] = None
    return list(words), list(accumulate(1 / (rank + 8) for rank in range(_NUM_WORDS)))


def _logprobs(draw: random.Random, num_top: int) -> list[float]:
    """Descending; together with a tail of less than a tenth they are a distribution."""
    sureness = draw.choice((0.2, 0.5, 1.0, 4.0, 12.0))
    scores = [0.0, -draw.expovariate(1 / sureness)]
    while len(scores) < num_top:
        scores.append(scores[-1] - draw.expovariate(1 / _MEAN_GAP))
    norm = log(sum(map(exp, scores)) * (1 + 0.1 * draw.random()))
    return [_single(score - norm) for score in scores[:num_top]]


def _single(value: float) -> float:
    """Rounded to single precision, in the fewest digits that say which number it is."""
    bits = pack("<f", value)
    for digits in range(6, 10):
        shown = float(f"{value:.{digits}g}")
        if pack("<f", shown) == bits:
            return shown
    return float(unpack("<f", bits)[0])


def _entry(word: str, logprob: float) -> dict[str, Any]:
    return {"token": word, "logprob": logprob, "bytes": list(word.encode())}
