"""The teacher-signal store: distributions on disk, keyed by the text they belong to.

A signal holds, for each completion token, the K largest teacher log-probabilities at temperature 1
and the log of the mass outside them. docs/format.md, section 5, is the layout.
"""

from stillhouse.signal._codec import TopKSignal, tail_logprob
from stillhouse.signal._store import SignalReader, SignalRow, SignalWriter, check_fingerprints

__all__ = [
    "TopKSignal",
    "tail_logprob",
    "SignalRow",
    "SignalWriter",
    "SignalReader",
    "check_fingerprints",
]
