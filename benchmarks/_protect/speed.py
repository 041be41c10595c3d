"""Tokens a second of detectors: from ids to p-values, and from text.

Ours on one core from ids, and with the tokenizer's threads from text; each of the others in a
process of its own, on the same ids. Texts have 400 tokens.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._parts.processes import measure
from benchmarks._parts.pythons import versions_in
from benchmarks._parts.spread import spread
from benchmarks._protect.corpus import read_corpus, tokenizer_of
from benchmarks._protect.options import Options

from stillhouse.watermark import (
    NgramFilter,
    Profile,
    WatermarkKey,
    detect_many,
    ngram_hashes,
)

LENGTH = 400
SCRIPTS = Path(__file__).parent / "detectors"
PEERS = {
    "transformers KGW": ("transformers", "detect_transformers.py", "kgw"),
    "transformers SynthID, mean": ("transformers", "detect_transformers.py", "synthid"),
    "MarkLLM KGW": ("markllm", "detect_markllm.py", "kgw"),
    "MarkLLM EXP": ("markllm", "detect_markllm.py", "exp"),
    "textseal Gumbel": ("textseal", "detect_textseal.py", "gumbel"),
    "textseal green list": ("textseal", "detect_textseal.py", "green"),
}
_FASTER = {"textseal Gumbel": 20, "textseal green list": 20, "transformers SynthID, mean": 20}
"""How many times as many tokens some are given: they take as long for them."""


def run(options: Options) -> dict[str, Any]:
    tokenizer = tokenizer_of()
    corpus = read_corpus(options, tokenizer)
    pairs = len(corpus.tested) - len(corpus.tested) % 2
    texts = list(np.concatenate(corpus.tested[:pairs]).reshape(-1, LENGTH))
    texts = (texts * (1 + options.fast_tokens // (LENGTH * len(texts))))[
        : options.fast_tokens // LENGTH
    ]
    common = NgramFilter.of(
        (ngram_hashes(ids, 4) for ids in corpus.reference),
        context_width=4,
        tokenizer_sha256=corpus.tokenizer_sha256,
    )
    key = WatermarkKey(bytes(32))
    ours: dict[str, Any] = {}
    for scheme in ("gumbel", "dual_gumbel", "kgw", "synthid"):
        profile = Profile(
            scheme=scheme, tokenizer_sha256=corpus.tokenizer_sha256, key_id=key.key_id
        )
        ours[scheme] = _speed(texts, profile, key, None, options.rounds)
        if scheme == "gumbel":
            ours["gumbel, common n-grams left out"] = _speed(
                texts, profile, key, common, options.rounds
            )
            ours["gumbel, from text"] = _from_text(texts, profile, key, options)
    found: dict[str, Any] = {"tokens": len(texts) * LENGTH, "tokens_per_s": ours}
    found["peers"] = _peers(texts, options)
    ratio = {
        name: ours["gumbel"]["median"] / peer["tokens_per_s"]
        for name, peer in found["peers"].items()
    }
    return {**found, "times_as_fast": ratio}


def _speed(
    texts: list[np.ndarray],
    profile: Profile,
    key: WatermarkKey,
    common: NgramFilter | None,
    rounds: int,
) -> dict[str, float]:
    speeds = []
    for _ in range(rounds):
        started_s = time.perf_counter()
        detect_many(texts, profile, key, common=common)
        speeds.append(len(texts) * LENGTH / (time.perf_counter() - started_s))
    return spread(speeds, 0)


def _from_text(
    texts: list[np.ndarray], profile: Profile, key: WatermarkKey, options: Options
) -> dict[str, float]:
    from tokenizers import Tokenizer

    from stillhouse.models import locate_model

    tokenizer = tokenizer_of()
    backend = Tokenizer.from_file(str(Path(locate_model("").path) / "tokenizer.json"))
    words = backend.decode_batch([ids.tolist() for ids in texts], skip_special_tokens=False)
    speeds = []
    for _ in range(options.rounds):
        started_s = time.perf_counter()
        ids = tokenizer.ids(words)
        detect_many(ids, profile, key)
        speeds.append(sum(map(len, ids)) / (time.perf_counter() - started_s))
    return spread(speeds, 0)


def _peers(texts: list[np.ndarray], options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (package, script, scheme) in PEERS.items():
        for python in options.pythons:
            versions = versions_in(python, (package,))
            if not versions:
                continue
            num_texts = max(1, options.peer_tokens * _FASTER.get(name, 1) // LENGTH)
            with tempfile.TemporaryDirectory() as folder:
                given = Path(folder) / "texts.json"
                given.write_text(json.dumps([ids.tolist() for ids in texts[:num_texts]]))
                out = measure([python, SCRIPTS / script, scheme, given]).checked().stdout
            found[name] = {**json.loads(out.splitlines()[-1]), "version": versions[package]}
            break
    return found
