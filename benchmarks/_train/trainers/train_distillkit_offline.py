"""DistillKit on stored top-k log-probabilities, uncompressed, so that it has nothing to decode.

What is stored here are equal probabilities of the first ids: their values do not change its speed.
"""

import math

import _distillkit
from distillkit.compression import LogprobCompressor
from distillkit.compression.config import DistributionQuantizationConfig
from distillkit.signals import OfflineSignalSource

VOCABULARY = 49_152


def stored_rows() -> list[dict[str, object]]:
    ids = list(range(_distillkit.TOP_K))
    values = [-math.log(_distillkit.TOP_K)] * _distillkit.TOP_K
    return [
        {
            **row,
            "token_ids": [ids] * len(row["input_ids"]),
            "top_values": [values] * len(row["input_ids"]),
        }
        for row in _distillkit.labelled_rows()
    ]


if __name__ == "__main__":
    codec = {
        "d": VOCABULARY,
        "k": _distillkit.TOP_K,
        "exact_k": _distillkit.TOP_K,
        "residual_bins": [],
    }
    source = OfflineSignalSource(
        LogprobCompressor(DistributionQuantizationConfig.model_validate(codec)),
        vocab_size=VOCABULARY,
    )
    config = {"kind": "dataset", "logprob_compressor": codec}
    _distillkit.train(config, source, stored_rows(), _distillkit.padded)
