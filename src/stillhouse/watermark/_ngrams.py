"""N-grams that many documents share, and which no detector should count.

A fixed key scores a given n-gram the same for ever. Where thousands of documents say "on the other
hand", a key to which that looks marked accuses more of them than its level allows, and another key
fewer; p-values are right on average over keys only. Leaving common n-grams out cures that.

Letters: N hashes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.watermark._prf import U64

_KIND = "stillhouse/watermark/ngrams/1"
_COMPACT_AT = 8_000_000
_FLAGS_PER_HASH = 16


@dataclass(frozen=True)
class NgramFilter:
    """N-grams by hash: a context of `context_width` ids with the token after it.

    Attributes:
        hashes_N: Sorted, each once.
        context_width: Ids in a context.
        tokenizer_sha256: Fingerprint of the tokenizer that made the ids.
        min_documents: How many documents an n-gram was in at least.
        num_documents: How many were read.
    """

    hashes_N: U64
    context_width: int
    tokenizer_sha256: str
    min_documents: int
    num_documents: int
    _mask: npt.NDArray[np.uint8] = field(init=False, repr=False, compare=False)
    _shift: np.uint64 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A table of flags, by the first bits of a hash, answers most questions by itself.
        bits = int(np.ceil(np.log2(max(1, len(self.hashes_N)) * _FLAGS_PER_HASH)))
        bits = min(max(bits, 8), 28)
        shift = np.uint64(64 - bits)
        mask = np.zeros(1 << bits, dtype=bool)
        mask[(self.hashes_N >> shift).astype(np.int64)] = True
        object.__setattr__(self, "_mask", mask)
        object.__setattr__(self, "_shift", shift)

    @classmethod
    def of(
        cls,
        documents: Iterable[U64],
        *,
        context_width: int,
        tokenizer_sha256: str,
        min_documents: int = 10,
    ) -> Self:
        """The n-grams that at least `min_documents` of the documents hold.

        Args:
            documents: `ngram_hashes` of each.
            context_width: That they were hashed with.
            tokenizer_sha256: Of the tokenizer that made their ids.
            min_documents: At 10, what a fixed key adds to the spread of false alarms over keys
                falls to about the noise (docs/watermark_detection.md).

        Raises:
            ConfigError: `min_documents` is below 2.
        """
        if min_documents < 2:
            raise ConfigError(
                f"min_documents={min_documents}: every n-gram would be common. Give 2 or more."
            )
        seen, counts = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
        waiting: list[U64] = []
        num_documents = num_waiting = 0
        for hashes in documents:
            waiting.append(np.unique(hashes))
            num_documents += 1
            num_waiting += len(waiting[-1])
            if num_waiting > _COMPACT_AT:
                seen, counts = _added(seen, counts, waiting)
                waiting, num_waiting = [], 0
        seen, counts = _added(seen, counts, waiting)
        return cls(
            seen[counts >= min_documents],
            context_width,
            tokenizer_sha256,
            min_documents,
            num_documents,
        )

    def check_width(self, width: int) -> None:
        """Refuse to be used with another context width."""
        if width != self.context_width:
            raise ConfigError(
                f"The filter of common n-grams is for contexts of {self.context_width} tokens, and "
                f"the profile has {width}. Make one for it: stillhouse watermark calibrate"
            )

    def check_tokenizer(self, tokenizer_sha256: str) -> None:
        """Refuse to be used on ids of another tokenizer."""
        if tokenizer_sha256 != self.tokenizer_sha256:
            raise ConfigError(
                f"The filter of common n-grams is for the tokenizer {self.tokenizer_sha256[:12]}, "
                f"and the profile for {tokenizer_sha256[:12]}. Make one for it: stillhouse "
                "watermark calibrate"
            )

    def holds(self, hashes_N: U64) -> npt.NDArray[np.bool_]:
        """Which of the hashes are common."""
        found_N = self._mask[(hashes_N >> self._shift).astype(np.int64)].astype(bool)
        if len(self.hashes_N):
            asked = np.flatnonzero(found_N)
            place = np.searchsorted(self.hashes_N, hashes_N[asked])
            place = np.minimum(place, len(self.hashes_N) - 1)
            found_N[asked] = self.hashes_N[place] == hashes_N[asked]
        return found_N

    def save(self, path: Path) -> None:
        """Write it to a file, which is replaced as a whole.

        Raises:
            ConfigError: the file cannot be written.
        """
        told = {**self._described(), "sha256": _digest(self.hashes_N)}
        raw = save({"hashes": self.hashes_N}, {"ngrams": orjson.dumps(told).decode()})
        written = path.with_name(f".{path.name}.part")
        try:
            written.write_bytes(raw)
            written.replace(path)
        except (OSError, ValueError) as err:
            reason = getattr(err, "strerror", None) or err
            raise ConfigError(f"{path} cannot be written ({reason}). Give another place.") from err

    @classmethod
    def load(cls, path: Path) -> Self:
        """The filter in a file that `save` wrote.

        Raises:
            ConfigError: it cannot be read.
            IntegrityError: it is no such file, or it was changed.
        """
        if not path.is_file():
            raise ConfigError(f"{path} is no file. Give what stillhouse watermark calibrate wrote.")
        try:
            with safe_open(path, framework="numpy") as opened:
                told = orjson.loads((opened.metadata() or {})["ngrams"])
                hashes_N = opened.get_tensor("hashes")
            found = cls._read(told, hashes_N)
            is_whole = told["sha256"] == _digest(hashes_N) and told["kind"] == _KIND
        except OSError as err:
            raise ConfigError(f"{path} cannot be read ({err.strerror}). Give another.") from err
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as err:
            raise IntegrityError(
                f"{path} is no filter of common n-grams, or is cut off ({err!s:.100}). Make it "
                "again: stillhouse watermark calibrate"
            ) from err
        if not is_whole:
            raise IntegrityError(
                f"{path} was changed, or is of another version. Make it again: stillhouse "
                "watermark calibrate"
            )
        return found

    @classmethod
    def _read(cls, told: dict[str, Any], hashes_N: U64) -> Self:
        if hashes_N.dtype != np.uint64 or hashes_N.ndim != 1:
            raise ValueError("its hashes are no row of 64 bits")
        if len(hashes_N) > 1 and not (hashes_N[1:] > hashes_N[:-1]).all():
            raise ValueError("its hashes are not in order")
        return cls(
            hashes_N,
            int(told["context_width"]),
            str(told["tokenizer_sha256"]),
            int(told["min_documents"]),
            int(told["num_documents"]),
        )

    def _described(self) -> dict[str, Any]:
        return {
            "kind": _KIND,
            "context_width": self.context_width,
            "tokenizer_sha256": self.tokenizer_sha256,
            "min_documents": self.min_documents,
            "num_documents": self.num_documents,
        }


def _added(
    seen: U64, counts: npt.NDArray[np.int64], documents: list[U64]
) -> tuple[U64, npt.NDArray[np.int64]]:
    if not documents:
        return seen, counts
    new, new_counts = np.unique(np.concatenate(documents), return_counts=True)
    both, place = np.unique(np.concatenate([seen, new]), return_inverse=True)
    total = np.bincount(place, weights=np.concatenate([counts, new_counts]), minlength=len(both))
    return both, total.astype(np.int64)


def _digest(hashes_N: U64) -> str:
    return sha256(hashes_N.astype("<u8", copy=False).tobytes()).hexdigest()
