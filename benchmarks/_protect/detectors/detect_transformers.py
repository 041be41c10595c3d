"""transformers' detectors on texts of ids: `detect_transformers.py kgw|synthid TEXTS.json`."""

import json
import sys
import time
from types import SimpleNamespace

import torch
from transformers import SynthIDTextWatermarkLogitsProcessor, WatermarkDetector
from transformers.generation import WatermarkingConfig

VOCABULARY = 49_152


def main() -> None:
    scheme, path = sys.argv[1:]
    torch.set_num_threads(1)
    with open(path, encoding="utf-8") as stream:
        texts = [torch.tensor([ids]) for ids in json.load(stream)]
    score = kgw() if scheme == "kgw" else synthid()
    score(texts[0][:, :50])  # what is built once
    started_s = time.perf_counter()
    for ids in texts:
        score(ids)
    seconds = time.perf_counter() - started_s
    num_tokens = sum(ids.numel() for ids in texts)
    print(json.dumps({"tokens": num_tokens, "tokens_per_s": num_tokens / seconds}))


def kgw():
    config = SimpleNamespace(
        bos_token_id=1, is_encoder_decoder=False, vocab_size=VOCABULARY, decoder_start_token_id=None
    )
    settings = WatermarkingConfig(greenlist_ratio=0.25, bias=2.0, context_width=4)
    detector = WatermarkDetector(config, "cpu", settings, ignore_repeated_ngrams=True)
    return lambda ids: detector(ids, return_dict=True).p_value


def synthid():
    processor = SynthIDTextWatermarkLogitsProcessor(
        ngram_len=5,
        keys=list(range(1, 31)),
        sampling_table_size=2**16,
        sampling_table_seed=0,
        context_history_size=1024,
        device="cpu",
    )

    def score(ids: torch.Tensor) -> float:
        values = processor.compute_g_values(ids)
        mask = processor.compute_context_repetition_mask(ids)
        return float((values.float().mean(dim=2) * mask).sum() / mask.sum())

    return score


if __name__ == "__main__":
    main()
