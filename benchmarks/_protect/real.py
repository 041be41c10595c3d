"""Marked texts of a real model, SmolLM2-135M-Instruct at temperature 1: what is found of them.

From the ids that were drawn, and from the text read anew, as whoever finds it has it. The forecast
is made from the log-probabilities of unmarked texts.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks._protect.corpus import tokenizer_of
from benchmarks._protect.options import Options
from benchmarks._protect.titles import news_titles

from stillhouse.models import GenerationJob, LanguageModel, generate, load_model
from stillhouse.records import Message
from stillhouse.watermark import (
    LogitsMark,
    Profile,
    decoy_key,
    detect_many,
    forecast,
    make_mark,
)

SCHEMES = ("gumbel", "dual_gumbel", "kgw", "synthid")
LENGTHS = (25, 50, 100, 150)
LEVEL = 1e-3


def run(options: Options) -> dict[str, Any]:
    model = load_model("")
    tokenizer = tokenizer_of()
    titles = news_titles(options.data, options.real_texts)
    plain = list(_texts(model, None, titles))
    probabilities = np.exp(np.concatenate([logprobs for _, logprobs in plain]))
    found: dict[str, Any] = {
        "texts": options.real_texts,
        "mean_nats": float(-np.log(probabilities).mean()),
        "shorter_than_asked": sum(len(ids) < max(LENGTHS) for ids, _ in plain),
    }
    for scheme in SCHEMES:
        key = decoy_key(0)
        profile = Profile(
            scheme=scheme, tokenizer_sha256=tokenizer.sha256, key_id=key.key_id, context_width=4
        )
        marked = [ids for ids, _ in _texts(model, make_mark(profile, key), titles)]
        entry: dict[str, Any] = {}
        for length in LENGTHS:
            long = [ids[:length] for ids in marked if len(ids) >= length]
            again = tokenizer.ids([_decoded(model, ids) for ids in long])
            from_ids = detect_many(long, profile, key)
            from_text = detect_many(again, profile, key)
            unmarked = [ids[:length] for ids, _ in plain if len(ids) >= length]
            alarms = detect_many(unmarked, profile, key)
            entry[str(length)] = {
                "texts": len(long),
                "from_ids": _share(from_ids),
                "from_text": _share(from_text),
                "false_alarms": _share(alarms),
                "scored_fraction": float(np.mean([one.num_scored for one in from_ids]) / length),
                "median_log10_p": float(np.median([one.log10_p for one in from_ids])),
            }
            if scheme in ("gumbel", "dual_gumbel"):
                told = forecast(
                    profile,
                    probabilities=probabilities,
                    lengths=[length],
                    level=LEVEL,
                    scored_fraction=entry[str(length)]["scored_fraction"],
                )
                entry[str(length)]["forecast"] = told.power[length]
        found[scheme] = entry
    return found


def _share(detections: list[Any]) -> float:
    return sum(one.is_marked(LEVEL) for one in detections) / max(1, len(detections))


def _texts(
    model: LanguageModel, mark: LogitsMark | None, titles: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids without the end of turn, and their log-probabilities."""
    waiting = [
        GenerationJob(
            key=str(number),
            prompt_ids=model.chat.encode_prompt(
                (Message(role="user", content=f"Write a long article on: {title}"),)
            ),
            max_tokens=max(LENGTHS),
            temperature=1.0,
            seed=number,
            mark=mark,
        )
        for number, title in enumerate(titles)
    ]

    def pull(most: int) -> list[GenerationJob]:
        taken = waiting[:most]
        del waiting[:most]
        return taken

    for ended in generate(model, pull):
        for one in ended:
            is_end = len(one.ids) and int(one.ids[-1]) in model.chat.end_of_turn_ids
            yield (
                one.ids[: len(one.ids) - bool(is_end)],
                one.logprobs[: len(one.ids) - bool(is_end)],
            )


def _decoded(model: LanguageModel, ids: np.ndarray) -> str:
    return model.chat.decode_completion([int(token) for token in ids])[0]
