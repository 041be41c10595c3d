"""Write a signal as it is captured, read it by content.

Parts go to disk whole as soon as they are full, so a killed capture resumes after the last one,
and memory holds one part at a time whatever the length of the run.
"""

import json
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.artifacts import Artifact, ArtifactWriter
from stillhouse.errors import IntegrityError, VocabularyMismatchError
from stillhouse.records import Record
from stillhouse.signal._codec import TopKSignal

PART_TOKENS = 65_536
"""Tokens per part: 17 MB at K = 32, a few seconds of capture to lose in a crash."""


class SignalRow(Record):
    """Where the signal of one example lies."""

    key: str
    """SHA-256 of prompt and completion ids (`EncodedExample.signal_key`)."""
    shard: str
    offset: int
    length: int


class SignalWriter:
    """Adds rows to the parts of an artefact under construction.

    A second writer on the same artefact finds the finished parts of the first: `key in writer`
    says what need not be captured again.
    """

    def __init__(self, artifact: ArtifactWriter, *, part_tokens: int = PART_TOKENS) -> None:
        self._artifact = artifact
        self._parts_dir = artifact.work_dir / "parts"
        self._parts_dir.mkdir(exist_ok=True)
        self._part_tokens = part_tokens
        self._parts = [
            _read_part_rows(path) for path in sorted(self._parts_dir.glob("*.safetensors"))
        ]
        self._keys = {key for part in self._parts for key, _ in part}
        self._pending: list[tuple[str, TopKSignal]] = []
        self._pending_tokens = 0

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, signal: TopKSignal) -> None:
        """Store a row; a key that is there already is left alone."""
        if key in self._keys:
            return
        self._keys.add(key)
        self._pending.append((key, signal))
        self._pending_tokens += len(signal)
        if self._pending_tokens >= self._part_tokens:
            self._flush()

    def close(self) -> int:
        """Put the parts into the artefact, write its index and return the number of tokens.

        They stay where a resumed writer finds them until the artefact is finished.
        """
        self._flush()
        for number in range(len(self._parts)):
            name = _part_name(number)
            _link_or_copy(self._parts_dir / name, self._artifact.new_file(name))
        self._artifact.write_rows("index", self._index(), SignalRow)
        return sum(length for part in self._parts for _, length in part)

    def _index(self) -> Iterator[SignalRow]:
        for number, part in enumerate(self._parts):
            offset = 0
            for key, length in part:
                yield SignalRow(key=key, shard=_part_name(number), offset=offset, length=length)
                offset += length

    def _flush(self) -> None:
        from safetensors.numpy import save_file

        if not self._pending:
            return
        rows = [(key, len(signal)) for key, signal in self._pending]
        signals = [signal for _, signal in self._pending]
        target = self._parts_dir / _part_name(len(self._parts))
        temporary = target.with_suffix(".tmp")
        save_file(
            {
                "top_ids": np.concatenate([signal.ids for signal in signals]),
                "top_logprobs": np.concatenate([signal.logprobs for signal in signals]),
                "tail_logprob": np.concatenate([signal.tail_logprob for signal in signals]),
            },
            temporary,
            metadata={"rows": json.dumps(rows)},
        )
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
        self._parts.append(rows)
        self._pending, self._pending_tokens = [], 0


class SignalReader:
    """Reads rows of a signal artefact by key, from memory-mapped files."""

    def __init__(self, artifact: Artifact) -> None:
        self._path = artifact.path
        self._rows = {row.key: row for row in artifact.rows("index", SignalRow)}
        self._open = cache(self._open_shard)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, key: str) -> TopKSignal:
        """The signal of one example.

        Raises:
            IntegrityError: the signal was captured for other text, or a file is damaged.
        """
        row = self._rows.get(key)
        if row is None:
            raise IntegrityError(
                f"{self._path} holds no signal for an example (key {key[:12]}): it was captured "
                "for other prompts, completions or tokens. Run capture on this dataset."
            )
        shard = self._open(row.shard)
        rows = slice(row.offset, row.offset + row.length)
        return TopKSignal(
            ids=shard.get_slice("top_ids")[rows],
            logprobs=shard.get_slice("top_logprobs")[rows],
            tail_logprob=shard.get_slice("tail_logprob")[rows],
        )

    def _open_shard(self, name: str) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(self._path / name, framework="numpy")
        except (SafetensorError, OSError) as err:
            raise IntegrityError(
                f"{self._path / name} is damaged ({err}). Run capture again."
            ) from err


def check_fingerprints(
    signal: Artifact,
    *,
    dataset: Artifact,
    vocabulary_sha256: str,
    template_sha256: str,
) -> None:
    """Refuse a signal that was not made for this dataset and this student.

    Raises:
        VocabularyMismatchError: teacher, tokenizer or chat template differ.
        IntegrityError: it was captured on another dataset.
    """
    manifest = signal.manifest
    teacher = manifest.teacher.revision if manifest.teacher else None
    wanted = dataset.manifest.teacher.revision if dataset.manifest.teacher else None
    tokenizer = manifest.tokenizer.sha256 if manifest.tokenizer else None
    for what, found, expected in (
        ("teacher", teacher, wanted),
        ("tokenizer", tokenizer, vocabulary_sha256),
        ("chat template", manifest.chat_template_sha256, template_sha256),
    ):
        if found != expected:
            raise VocabularyMismatchError(
                f"{signal.path} comes from another {what} ({_short(found)}, needed "
                f"{_short(expected)}). Run capture again with the teacher of this dataset and a "
                "student that shares its tokenizer and template."
            )
    if dataset.manifest_sha256 not in {parent.sha256 for parent in manifest.parents}:
        raise IntegrityError(
            f"{signal.path} was captured on another dataset than {dataset.path}. "
            "Run capture on this dataset."
        )


def _part_name(number: int) -> str:
    return f"signal-{number:05d}.safetensors"


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _read_part_rows(path: Path) -> list[tuple[str, int]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as part:
        return [(key, length) for key, length in json.loads(part.metadata()["rows"])]


def _short(fingerprint: str | None) -> str:
    return fingerprint[:12] if fingerprint else "none recorded"
