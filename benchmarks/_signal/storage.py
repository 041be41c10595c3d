"""Bytes of a stored signal, and the speed of reading it.

Speed is in CPU seconds of one core, so that a busy machine does not count: rows in the order they
were written, in random order with what the reader caches, and in random order without a cache.
"""

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.artifacts import Artifact, Counts, begin_artifact
from stillhouse.signal import (
    Codec,
    Signal,
    SignalReader,
    SignalWriter,
    TopKSignal,
    describe,
)

Rows = list[tuple[str, Signal]]


def measure(codec: Codec[Any], rows: Rows) -> dict[str, Any]:
    """Bytes per token of the whole folder, and tokens per CPU second of reading."""
    num_tokens = sum(len(signal) for _, signal in rows)
    with tempfile.TemporaryDirectory() as folder:
        started_s = time.process_time()
        artifact = write(Path(folder) / "signal", codec, rows)
        encoded_s = time.process_time() - started_s
        size = sum(path.stat().st_size for path in artifact.path.iterdir())
        keys = [key for key, _ in rows]
        shuffled = random.Random(0).sample(keys, len(keys))
        first = [SignalReader(artifact).read(key) for key in keys]
        return {
            "bytes_per_token": size / num_tokens,
            "tokens": num_tokens,
            "ids_per_token": _ids_per_token(first),
            "encode_tokens_per_s": num_tokens / encoded_s,
            "decode_tokens_per_s": {
                "in_order": read_rate(SignalReader(artifact), keys, num_tokens),
                "shuffled": read_rate(SignalReader(artifact), shuffled, num_tokens),
                "shuffled_and_cached": read_rate(_warm(artifact, keys), shuffled, num_tokens),
                "shuffled_without_cache": read_rate(
                    SignalReader(artifact, cache_bytes=1), shuffled, num_tokens
                ),
            },
        }


def _ids_per_token(signals: Sequence[Any]) -> float | None:
    if not isinstance(signals[0], TopKSignal):
        return None
    return float(np.concatenate([np.isfinite(one.logprobs).sum(axis=1) for one in signals]).mean())


def write(folder: Path, codec: Codec[Any], rows: Rows) -> Artifact:
    artifact = begin_artifact(folder, kind="signal", stage="capture", config={})
    store = SignalWriter(artifact, codec)
    for key, signal in rows:
        store.add(key, signal)
    store.close()
    return artifact.finish(
        counts=Counts(num_in=len(rows), kept=len(rows)), results={"codec": describe(codec)}
    )


def _warm(artifact: Artifact, keys: Sequence[str]) -> SignalReader:
    reader = SignalReader(artifact)
    for key in keys:
        reader.read(key)
    return reader


def read_rate(reader: SignalReader, keys: Sequence[str], num_tokens: int) -> float:
    """Checksums are part of a first reading, as they are in use."""
    started_s = time.process_time()
    for key in keys:
        reader.read(key)
    return num_tokens / (time.process_time() - started_s)


def decoded(codec: Codec[Any], rows: Rows, keys: Sequence[str]) -> list[Any]:
    """What comes back of the rows of `keys` when all rows have been stored."""
    with tempfile.TemporaryDirectory() as folder:
        reader = SignalReader(write(Path(folder) / "signal", codec, rows))
        return [reader.read(key) for key in keys]
