"""MarkLLM's scoring of texts of ids: `detect_markllm.py kgw|exp TEXTS.json`.

Its top-level classes want a model and its tokenizer, which scoring does not use: only the size of
the vocabulary and the device are given.
"""

import json
import sys
import time
from types import SimpleNamespace

import torch

VOCABULARY = 49_152


def main() -> None:
    scheme, path = sys.argv[1:]
    torch.set_num_threads(1)
    with open(path, encoding="utf-8") as stream:
        texts = [torch.tensor(ids) for ids in json.load(stream)]
    score = kgw() if scheme == "kgw" else exp()
    score(texts[0][:50])
    started_s = time.perf_counter()
    for ids in texts:
        score(ids)
    seconds = time.perf_counter() - started_s
    num_tokens = sum(ids.numel() for ids in texts)
    print(json.dumps({"tokens": num_tokens, "tokens_per_s": num_tokens / seconds}))


def _model() -> SimpleNamespace:
    return SimpleNamespace(
        model=None, tokenizer=None, vocab_size=VOCABULARY, device="cpu", gen_kwargs={}
    )


def kgw():
    from markllm.watermark.kgw.kgw import KGWConfig, KGWUtils

    return KGWUtils(KGWConfig(None, _model())).score_sequence


def exp():
    """The loop of its `EXP.detect_watermark`, which begins with a text."""
    from markllm.watermark.exp.exp import EXPConfig, EXPUtils

    utils = EXPUtils(EXPConfig(None, _model()))
    prefix = utils.config.prefix_length

    def score(ids: torch.Tensor) -> float:
        total = 0.0
        for place in range(prefix, len(ids)):
            utils.seed_rng(ids[:place])
            random_numbers = torch.rand(VOCABULARY, generator=utils.rng)
            total += float(torch.log(1 / (1 - random_numbers[ids[place]])))
        return total

    return score


if __name__ == "__main__":
    main()
