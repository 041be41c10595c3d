"""False alarms on real unmarked text: the mean over keys, and how far keys lie apart."""

from typing import Any

import numpy as np
from benchmarks._protect.corpus import LENGTH, Corpus, read_corpus, tokenizer_of
from benchmarks._protect.options import Options

from stillhouse.watermark import (
    NgramFilter,
    Profile,
    WatermarkKey,
    Windows,
    log10_tail,
    ngram_hashes,
    null_law,
    window_scores,
    windows,
)

LEVELS = (0.01, 0.001, 0.0001)
SPREAD_OVER = 5_000
_TOGETHER = 500
WIDTHS = (2, 4)


def run(options: Options) -> dict[str, Any]:
    corpus = read_corpus(options, tokenizer_of())
    found: dict[str, Any] = {
        "documents": len(corpus.tested),
        "reference_documents": len(corpus.reference),
        "tokens_each": LENGTH,
        "keys": options.keys,
        "sources": {name: list(counts) for name, counts in corpus.sources.items()},
    }
    for width in WIDTHS:
        common = NgramFilter.of(
            (ngram_hashes(ids, width) for ids in corpus.reference),
            context_width=width,
            tokenizer_sha256=corpus.tokenizer_sha256,
        )
        for name, filter_ in (("all n-grams", None), ("without common ones", common)):
            found[f"width {width}, {name}"] = _rates(corpus, width, filter_, options)
    return found


def _rates(
    corpus: Corpus, width: int, common: NgramFilter | None, options: Options
) -> dict[str, Any]:
    parts = [
        windows(corpus.tested[begin : begin + _TOGETHER], width=width, common=common)
        for begin in range(0, len(corpus.tested), _TOGETHER)
    ]
    p_KD = np.stack([_log10_p(parts, width, number) for number in range(options.keys)])
    entry: dict[str, Any] = {
        "scored_fraction": sum(len(part.ids_N) for part in parts) / (LENGTH * p_KD.shape[1])
    }
    for level in LEVELS:
        hits_KD = p_KD <= np.log10(level)
        rates_K = hits_KD.mean(axis=1)
        few_K = hits_KD[:, :SPREAD_OVER].mean(axis=1)
        num_few = min(SPREAD_OVER, hits_KD.shape[1])
        floor = float(np.sqrt(few_K.mean() * (1 - few_K.mean()) / num_few))
        entry[f"{level:g}"] = {
            "mean": float(rates_K.mean()),
            # Over keys, which are what is independent here.
            "standard_error": float(rates_K.std(ddof=1) / np.sqrt(len(rates_K))),
            "worst_key": float(rates_K.max()),
            "spread_documents": num_few,
            "sd_over_keys": float(few_K.std(ddof=1)),
            "sd_by_chance": floor,
            "spread_ratio": float(few_K.std(ddof=1) / floor),
        }
    return entry


def _log10_p(parts: list[Windows], width: int, number: int) -> np.ndarray:
    key = WatermarkKey(number.to_bytes(32, "big"))
    profile = Profile(
        scheme="gumbel", context_width=width, tokenizer_sha256="0" * 64, key_id=key.key_id
    )
    found = []
    for part in parts:
        scores = window_scores(profile, key, part)
        sums = np.bincount(part.texts_N, weights=scores, minlength=len(part.num_tokens_D))
        found.append(log10_tail(null_law(profile), sums, part.num_scored_D))
    return np.concatenate(found)
