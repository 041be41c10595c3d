"""Is a text marked with a key? The p-value, and what it rests on.

Letters: D texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import log10
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ShapeError
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._keyed import check_key
from stillhouse.watermark._locate import Span, locate
from stillhouse.watermark._ngrams import NgramFilter
from stillhouse.watermark._null_tail import log10_tail
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._window_scores import null_law, window_scores
from stillhouse.watermark._windows import Once, Windows, windows

# Texts are taken together up to so many tokens: long enough that the cost of a call is none, short
# enough that their arrays stay in the cache. Half and twice as many are slower by a tenth.
_TOKENS_TOGETHER = 65_536


@dataclass(frozen=True, slots=True)
class Detection:
    """What a text says of a mark.

    Attributes:
        log10_p: Of the p-value: how likely text that does not know the key is to score so much.
            0 where nothing could be scored. -8 means one in a hundred million.
        num_tokens: Of the text.
        num_scored: Tokens that were counted.
        num_without_context: First tokens, which have no whole context.
        num_repeated: Tokens that were not counted since their context came before.
        num_in_prompt: Those whose context is in the prompt.
        num_common: Those in n-grams that many documents have.
        score: Sum of the scores.
        excess: What it is above the expected score of unmarked text: the evidence there is.
    """

    log10_p: float
    num_tokens: int
    num_scored: int
    num_without_context: int
    num_repeated: int
    num_in_prompt: int
    num_common: int
    score: float
    excess: float

    @property
    def p_value(self) -> float:
        """The p-value; 0.0 where it is below what a float holds."""
        return float(10.0**self.log10_p)

    def is_marked(self, level: float) -> bool:
        """Whether the p-value is at or below the level: of unmarked texts that share is told so."""
        return self.log10_p <= log10(level)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "p_value": self.p_value}


def detect(
    ids: npt.ArrayLike,
    profile: Profile,
    key: WatermarkKey,
    *,
    prompt: npt.ArrayLike | None = None,
    common: NgramFilter | None = None,
    once: Once = "context",
) -> Detection:
    """The p-value of one text; as `detect_many`."""
    prompts = None if prompt is None else [prompt]
    (found,) = detect_many([ids], profile, key, prompts=prompts, common=common, once=once)
    return found


def detect_many(
    texts: Sequence[npt.ArrayLike],
    profile: Profile,
    key: WatermarkKey,
    *,
    prompts: Sequence[npt.ArrayLike] | None = None,
    common: NgramFilter | None = None,
    once: Once = "context",
) -> list[Detection]:
    """The p-value of each text by itself.

    Exact for text that does not know the key: each context counts once, and so no number of the key
    twice. Several texts are several tests: correct for their number (`statistics.holm`), and leave
    out common n-grams where one key is used on many texts.

    Args:
        texts: Token ids of each, by the profile's tokenizer and without its prompt.
        profile: How they would be marked.
        key: Its key.
        prompts: Token ids of what each answers; contexts in it are not counted.
        common: N-grams not to be counted (`calibrate`).
        once: `context` counts the first token after each context, as generation marks it; `pair`
            each token after it once.

    Raises:
        ConfigError: the key is not the profile's, or the filter is for another width or tokenizer.
        DataError: an id is negative or no whole number.
        ShapeError: a text is no row of ids, or there are not as many prompts as texts.
    """
    check_key(profile, key)
    if common is not None:
        common.check_tokenizer(profile.tokenizer_sha256)
    if prompts is not None and len(prompts) != len(texts):
        raise ShapeError(f"{len(prompts)} prompts for {len(texts)} texts. Give one for each.")
    null = null_law(profile)
    detections: list[Detection] = []
    for begin, end in together(texts):
        found = windows(
            texts[begin:end],
            width=profile.context_width,
            prompts=None if prompts is None else prompts[begin:end],
            common=common,
            once=once,
        )
        scores_N = window_scores(profile, key, found)
        sums_D = text_sums(found, scores_N)
        counts_D = found.num_scored_D
        lacking_D = np.minimum(found.num_tokens_D, profile.context_width)
        columns = (
            log10_tail(null, sums_D, counts_D) + 0.0,  # and not -0.0
            found.num_tokens_D,
            counts_D,
            lacking_D,
            found.num_repeated_D,
            found.num_in_prompt_D,
            found.num_common_D,
            sums_D,
            sums_D - counts_D * null.mean,
        )
        rows = zip(*(column.tolist() for column in columns), strict=True)
        detections += [Detection(*row) for row in rows]
    return detections


def locate_marks(
    ids: npt.ArrayLike,
    profile: Profile,
    key: WatermarkKey,
    *,
    prompt: npt.ArrayLike | None = None,
    common: NgramFilter | None = None,
    level: float = 1e-3,
) -> list[Span]:
    """The marked parts of one text, with their number controlled: see `locate`.

    Args:
        ids: Token ids.
        profile: How they would be marked.
        key: Its key.
        prompt: What the text answers.
        common: N-grams not to be counted.
        level: How likely it may be that an unmarked part is told.

    Raises:
        ConfigError, DataError, ShapeError: as in `detect_many`.
    """
    prompts = None if prompt is None else [prompt]
    if common is not None:
        common.check_tokenizer(profile.tokenizer_sha256)
    found = windows([ids], width=profile.context_width, prompts=prompts, common=common)
    scores_N = window_scores(profile, key, found)
    return locate(scores_N, found.positions_N, null_law(profile), level=level)


def text_sums(found: Windows, scores_N: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(D,) the sum of the scores of each text; 0.0 where nothing is scored."""
    sums_D = np.bincount(found.texts_N, weights=scores_N, minlength=len(found.num_tokens_D))
    return sums_D.astype(np.float64)


def together(texts: Sequence[npt.ArrayLike]) -> Iterator[tuple[int, int]]:
    """Where runs of texts begin and end that are looked at together."""
    begin = num_tokens = 0
    for place, text in enumerate(texts):
        length = len(text) if isinstance(text, Sequence) else int(np.size(text))
        if place > begin and num_tokens + length > _TOKENS_TOGETHER:
            yield begin, place
            begin, num_tokens = place, 0
        num_tokens += length
    if begin < len(texts):
        yield begin, len(texts)
