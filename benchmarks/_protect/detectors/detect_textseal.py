"""textseal's scoring of texts of ids: `detect_textseal.py gumbel|green TEXTS.json`.

The package imports sentence_transformers on top, which scoring does not use: the folder of its
watermarks is imported by itself.
"""

import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import torch


def main() -> None:
    scheme, path = sys.argv[1:]
    torch.set_num_threads(1)
    spec = importlib.util.find_spec("textseal")
    folder = Path(spec.submodule_search_locations[0]) / "common" / "watermark"
    alone = ModuleType("textseal_watermark")
    alone.__path__ = [str(folder)]
    sys.modules[alone.__name__] = alone
    core = importlib.import_module("textseal_watermark.core")
    kinds = {"gumbel": ("gumbelmax", "uniform"), "green": ("greenlist", "binary")}
    kind, method = kinds[scheme]
    settings = core.WatermarkConfig(
        watermark_type=kind, method=method, ngram=4, scoring_method="v2"
    )
    with open(path, encoding="utf-8") as stream:
        texts = json.load(stream)
    core.score_tokens(texts[0], settings)
    started_s = time.perf_counter()
    for ids in texts:
        core.score_tokens(ids, settings)
    seconds = time.perf_counter() - started_s
    num_tokens = sum(map(len, texts))
    print(json.dumps({"tokens": num_tokens, "tokens_per_s": num_tokens / seconds}))


if __name__ == "__main__":
    main()
