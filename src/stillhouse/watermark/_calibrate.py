"""How often is unmarked text told to be marked? Measured on the user's own, by length and key.

Letters: D texts, K keys.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError, DataError
from stillhouse.statistics import Interval, fraction_interval
from stillhouse.watermark._detect import text_sums, together
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._ngrams import NgramFilter
from stillhouse.watermark._null_tail import log10_tail
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._window_scores import null_law, window_scores
from stillhouse.watermark._windows import Windows, ngram_hashes, windows

LENGTHS = (50, 100, 200, 400)
LEVELS = (0.01, 0.001)
_FEWEST = 50  # documents of either half; a rate over fewer says nothing
_DECOY = b"stillhouse/watermark/decoy\0"


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """False alarms on texts of one length at one level.

    Attributes:
        length: Tokens of each text.
        level: What the p-value was compared with: the false alarms that there should be.
        without_common: Whether common n-grams were left out.
        num_texts: Unmarked texts, each of another document.
        scored_fraction: Of their tokens that were counted.
        rate: Of the profile's own key, with its 95 % interval.
        mean_rate: Over decoy keys, which mark nothing.
        sd_over_keys: Standard deviation of their rates.
        sd_by_chance: What it would be if texts had nothing in common.
        worst_rate: Of the decoy key with the most.
    """

    length: int
    level: float
    without_common: bool
    num_texts: int
    scored_fraction: float
    rate: Interval
    mean_rate: float
    sd_over_keys: float
    sd_by_chance: float
    worst_rate: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a detector does on unmarked text.

    Attributes:
        rows: By length, level and whether common n-grams were left out.
        common: The filter of common n-grams, made of the reference half alone.
        num_reference: Documents in that half.
        num_tested: Documents in the other one.
        num_decoys: Keys that mark nothing.
    """

    rows: tuple[FalseAlarms, ...]
    common: NgramFilter
    num_reference: int
    num_tested: int
    num_decoys: int

    def document(self) -> dict[str, Any]:
        """For JSON; without the filter's hashes."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "num_reference": self.num_reference,
            "num_tested": self.num_tested,
            "num_decoys": self.num_decoys,
            "num_common_ngrams": len(self.common.hashes_N),
            "min_documents": self.common.min_documents,
        }


def calibrate(
    documents: Sequence[npt.ArrayLike],
    profile: Profile,
    key: WatermarkKey,
    *,
    lengths: Sequence[int] = LENGTHS,
    levels: Sequence[float] = LEVELS,
    num_decoys: int = 40,
    min_documents: int = 10,
) -> Calibration:
    """Measure false alarms on half of the documents, and learn common n-grams from the other half.

    Which half a document is in depends on its ids alone; a document that comes twice counts once.

    Args:
        documents: Token ids of each; unmarked, of the kind that will be tested.
        profile: How texts would be marked.
        key: Its key.
        lengths: Of the texts, in tokens: the beginning of each document that is long enough.
        levels: What p-values are compared with.
        num_decoys: Keys that mark nothing, 2 or more.
        min_documents: In how many documents an n-gram is common.

    Raises:
        ConfigError: a value is outside its range, or the key is not the profile's.
        DataError: there are too few documents, or none is long enough.
    """
    if num_decoys < 2:
        raise ConfigError(f"num_decoys={num_decoys}: a spread needs 2 or more.")
    for level in levels:
        if not 0 < level < 1:
            raise ConfigError(f"level={level:g} is not between 0 and 1. Give a chance.")
    reference, tested = _halves(documents)
    if min(len(reference), len(tested)) < _FEWEST:
        raise DataError(
            f"{len(reference)} and {len(tested)} different documents were given to learn from and "
            f"to test. Give at least {_FEWEST} for each half, better thousands."
        )
    common = NgramFilter.of(
        (ngram_hashes(ids, profile.context_width) for ids in reference),
        context_width=profile.context_width,
        tokenizer_sha256=profile.tokenizer_sha256,
        min_documents=min_documents,
    )
    rows: list[FalseAlarms] = []
    for length in lengths:
        texts = [ids[:length] for ids in tested if len(ids) >= length]
        if not texts:
            continue
        for filter_ in (None, common):
            rows += _false_alarms(texts, length, profile, key, levels, num_decoys, filter_)
    if not rows:
        longest = max(len(ids) for ids in tested)
        raise DataError(
            f"No document has {min(lengths)} tokens; the longest has {longest}. Give longer ones, "
            "or a shorter length."
        )
    return Calibration(tuple(rows), common, len(reference), len(tested), num_decoys)


def decoy_key(number: int) -> WatermarkKey:
    """A key that everybody can make, so that nobody marks with it."""
    return WatermarkKey(sha256(_DECOY + number.to_bytes(8, "little")).digest())


def _halves(
    documents: Sequence[npt.ArrayLike],
) -> tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]]:
    halves: tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]] = ([], [])
    seen: set[bytes] = set()
    for document in documents:
        ids = np.asarray(document, dtype=np.int64)
        digest = sha256(ids.tobytes()).digest()
        if digest not in seen:
            seen.add(digest)
            halves[digest[0] & 1].append(ids)
    return halves


def _false_alarms(
    texts: Sequence[npt.NDArray[np.int64]],
    length: int,
    profile: Profile,
    key: WatermarkKey,
    levels: Sequence[float],
    num_decoys: int,
    common: NgramFilter | None,
) -> list[FalseAlarms]:
    parts = [
        windows(texts[begin:end], width=profile.context_width, common=common)
        for begin, end in together(texts)
    ]
    own_D = _log10_p(parts, profile, key)
    decoys_KD = np.stack(
        [
            _log10_p(parts, profile.model_copy(update={"key_id": decoy.key_id}), decoy)
            for decoy in map(decoy_key, range(num_decoys))
        ]
    )
    num_scored = sum(len(part.ids_N) for part in parts)
    rows = []
    for level in levels:
        rates_K = (decoys_KD <= np.log10(level)).mean(axis=1)
        mean = float(rates_K.mean())
        rows.append(
            FalseAlarms(
                length=length,
                level=level,
                without_common=common is not None,
                num_texts=len(texts),
                scored_fraction=num_scored / (length * len(texts)),
                rate=fraction_interval(int((own_D <= np.log10(level)).sum()), len(texts)),
                mean_rate=mean,
                sd_over_keys=float(rates_K.std(ddof=1)),
                sd_by_chance=float(np.sqrt(mean * (1 - mean) / len(texts))),
                worst_rate=float(rates_K.max()),
            )
        )
    return rows


def _log10_p(
    parts: Sequence[Windows], profile: Profile, key: WatermarkKey
) -> npt.NDArray[np.float64]:
    """(D,) of the texts of all parts."""
    found = []
    for part in parts:
        sums_D = text_sums(part, window_scores(profile, key, part))
        found.append(log10_tail(null_law(profile), sums_D, part.num_scored_D))
    return np.concatenate(found)
