"""What is found of marked text: by entropy and length, after edits, in parts, of whom."""

import time
from typing import Any

import numpy as np
from benchmarks._protect.corpus import read_corpus, tokenizer_of
from benchmarks._protect.marked import VOCABULARY, edited, marked_texts, profile_of
from benchmarks._protect.options import Options

from stillhouse.watermark import (
    WatermarkKey,
    decoy_key,
    detect_many,
    forecast,
    identify,
    locate_marks,
)

ENTROPIES = (0.5, 1.0, 2.0)
LENGTHS = (25, 50, 100, 200)
LEVEL = 1e-3
WIDTHS = (1, 2, 4)
_TEXTS_OF_A_KEY = 50  # each batch has a key of its own: what holds is to hold over keys
_WITHIN = 25
_CUSTOMERS = 1_000


def run(options: Options) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "texts": options.texts,
        "by_length": _by_length(options, rng),
        "edits": _edits(options, rng),
        "mixed": _mixed(options, rng),
        "customers": _customers(options, rng),
    }


def _by_length(options: Options, rng: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entropy in ENTROPIES:
        hits = dict.fromkeys(LENGTHS, 0)
        scored = dict.fromkeys(LENGTHS, 0)
        for number, count in _batches(options.texts):
            key = decoy_key(number)
            profile = profile_of(key, 4)
            ids = marked_texts(count, max(LENGTHS), entropy, key, profile, rng)
            for length in LENGTHS:
                detections = detect_many(list(ids[:, :length]), profile, key)
                hits[length] += sum(one.is_marked(LEVEL) for one in detections)
                scored[length] += sum(one.num_scored for one in detections)
        entry = {}
        for length in LENGTHS:
            told = forecast(
                profile_of(decoy_key(0), 4),
                entropies_nats=[entropy],
                lengths=[length],
                level=LEVEL,
                scored_fraction=scored[length] / (length * options.texts),
            )
            rate = hits[length] / options.texts
            entry[str(length)] = {
                "found": rate,
                "forecast": told.power[length],
                "forecast_error": abs(rate - told.power[length]),
            }
        found[f"{entropy:g}"] = entry
    found["worst_forecast_error"] = max(
        cell["forecast_error"] for entry in found.values() for cell in entry.values()
    )
    return found


def _edits(options: Options, rng: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for width in WIDTHS:
        for share in (0.2, 0.4):
            hits = 0
            for number, count in _batches(options.texts):
                key = decoy_key(number)
                profile = profile_of(key, width)
                ids = edited(marked_texts(count, 200, 2.0, key, profile, rng), share, rng)
                hits += sum(one.is_marked(LEVEL) for one in detect_many(list(ids), profile, key))
            found[f"width {width}, {share:.0%} replaced"] = hits / options.texts
    return found


def _mixed(options: Options, rng: np.random.Generator) -> dict[str, Any]:
    """100 marked tokens within 1,000 of real text, whose ids are moved beside the chain's."""
    corpus = read_corpus(options, tokenizer_of())
    human = np.concatenate(corpus.tested) + VOCABULARY
    num_found = num_near = num_wrong = num_alarms = 0
    num_texts = max(_TEXTS_OF_A_KEY, options.texts // 2)
    for number, count in _batches(num_texts):
        key = decoy_key(number)
        profile = profile_of(key, 4)
        passages = marked_texts(count, 100, 2.0, key, profile, rng)
        for passage in passages:
            place = int(rng.integers(len(human) - 1000))
            text = human[place : place + 1000].copy()
            num_alarms += bool(locate_marks(text, profile, key, level=LEVEL))
            begin = int(rng.integers(0, 900))
            text[begin : begin + 100] = passage
            spans = locate_marks(text, profile, key, level=LEVEL)
            ours = [span for span in spans if span.start < begin + 100 and span.end > begin]
            num_wrong += len(spans) - len(ours)
            num_found += bool(ours)
            num_near += bool(ours) and (
                abs(min(span.start for span in ours) - begin) <= _WITHIN
                and abs(max(span.end for span in ours) - begin - 100) <= _WITHIN
            )
    return {
        "texts": num_texts,
        "found": num_found / num_texts,
        "found_within_25_tokens": num_near / num_texts,
        "wrong_parts": num_wrong,
        "unmarked_texts_with_a_part": num_alarms / num_texts,
    }


def _customers(options: Options, rng: np.random.Generator) -> dict[str, Any]:
    names = [f"customer {number}" for number in range(_CUSTOMERS)]
    num_texts = max(_TEXTS_OF_A_KEY, options.texts // 5)
    entry: dict[str, Any] = {"customers": _CUSTOMERS, "texts": num_texts}
    for entropy in (1.0, 2.0):
        right = wrong = 0
        durations_s = []
        for number, count in _batches(num_texts):
            key: WatermarkKey = decoy_key(number)
            name = names[int(rng.integers(_CUSTOMERS))]
            profile = profile_of(key, 4, name)
            for ids in marked_texts(count, 200, entropy, key, profile, rng):
                started_s = time.perf_counter()
                told = [one.customer for one in identify(ids, profile, key, names).found]
                durations_s.append(time.perf_counter() - started_s)
                right += told == [name]
                wrong += any(one != name for one in told)
        entry[f"{entropy:g} nats"] = {
            "right": right / num_texts,
            "wrong": wrong / num_texts,
            "median_s": float(np.median(durations_s)),
        }
    return entry


def _batches(num_texts: int) -> list[tuple[int, int]]:
    """Number of the key, and how many texts it marks."""
    return [
        (number, min(_TEXTS_OF_A_KEY, num_texts - begin))
        for number, begin in enumerate(range(0, num_texts, _TEXTS_OF_A_KEY))
    ]
