"""The teacher-signal store: distributions on disk, keyed by the text they belong to.

What is kept of a distribution is a codec's choice: its largest log-probabilities and a tail, draws
of it, the actual token, hidden states, or what a frozen head needs. docs/format.md, section 5, is
the layout.
"""

from stillhouse.signal._codec import Codec, describe
from stillhouse.signal._codecs import CODECS, codec_of
from stillhouse.signal._dense_codecs import HeadCacheCodec, HiddenCodec, TokenCodec
from stillhouse.signal._fingerprints import check_fingerprints
from stillhouse.signal._head import HEAD_NAME, read_head, write_head
from stillhouse.signal._reader import CACHE_BYTES, SignalReader
from stillhouse.signal._sampled_codec import SampledCodec
from stillhouse.signal._signals import (
    HeadCacheSignal,
    HiddenSignal,
    SampledSignal,
    Signal,
    TokenSignal,
    TopKSignal,
    tail_logprob,
)
from stillhouse.signal._topk_codec import AdaptiveCodec, RelativeCodec, TopKCodec
from stillhouse.signal._writer import PART_TOKENS, SignalWriter

__all__ = [
    "TopKSignal",
    "SampledSignal",
    "TokenSignal",
    "HiddenSignal",
    "HeadCacheSignal",
    "Signal",
    "tail_logprob",
    "Codec",
    "CODECS",
    "codec_of",
    "describe",
    "TopKCodec",
    "AdaptiveCodec",
    "RelativeCodec",
    "SampledCodec",
    "TokenCodec",
    "HiddenCodec",
    "HeadCacheCodec",
    "SignalWriter",
    "SignalReader",
    "HEAD_NAME",
    "write_head",
    "read_head",
    "PART_TOKENS",
    "CACHE_BYTES",
    "check_fingerprints",
]
