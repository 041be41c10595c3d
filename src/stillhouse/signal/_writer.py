"""Write a signal as it is captured.

Parts go to disk whole as soon as they are full, so a killed capture resumes after the last one,
and memory holds one part at a time whatever the length of the run.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stillhouse.artifacts import ArtifactWriter, sync_folder
from stillhouse.errors import ShapeError
from stillhouse.signal._codec import Codec
from stillhouse.signal._part import Part, Row, write_part
from stillhouse.signal._signals import Signal

PART_TOKENS = 65_536
"""Tokens of every part but the last, at least: 4 MB at K = 32, and what a crash may lose."""


class SignalWriter:
    """Adds rows to the parts of an artefact under construction.

    A second writer on the same artefact finds the finished parts of the first: `key in writer`
    says what need not be captured again. A part ends only where `add` or `add_all` does, so a
    capture that adds what it scores together finds either all of it or none.
    """

    def __init__(
        self, artifact: ArtifactWriter, codec: Codec[Any], *, part_tokens: int = PART_TOKENS
    ) -> None:
        self._artifact = artifact
        self._codec = codec
        self._parts_dir = artifact.work_dir / "parts"
        self._parts_dir.mkdir(exist_ok=True)
        self._part_tokens = part_tokens
        self._keys: set[str] = set()
        self._num_tokens = 0
        self._num_parts = 0
        for path in sorted(self._parts_dir.glob("*.safetensors")):
            self._adopt(path)
        self._pending: list[Row] = []
        self._pending_tokens = 0

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, signal: Signal) -> None:
        """Store a row; a key that is there already is left alone.

        Raises:
            ShapeError: see `add_all`.
        """
        self.add_all([(key, signal)])

    def add_all(self, rows: Iterable[Row]) -> None:
        """Store rows that must not end up on two sides of a kill.

        Raises:
            ShapeError: a signal holds NaN, or is not of the shape that the codec keeps.
        """
        for key, signal in rows:
            if key not in self._keys:
                if signal.has_nan:
                    raise ShapeError(
                        f"The signal of an example (key {key[:12]}) holds NaN: the teacher gave "
                        "no distribution for its text. Check the teacher's weights."
                    )
                self._keys.add(key)
                self._pending.append((key, signal))
                self._pending_tokens += len(signal)
        if self._pending_tokens >= self._part_tokens:
            self._flush()

    def close(self) -> int:
        """Put the parts into the artefact and return the number of tokens.

        They stay where a resumed writer finds them until the artefact is finished.
        """
        if self._pending:
            self._flush()
        for number in range(self._num_parts):
            name = part_name(number)
            _link_or_copy(self._parts_dir / name, self._artifact.new_file(name))
        return self._num_tokens

    def _adopt(self, path: Path) -> None:
        part = Part(path)
        part.verify()
        self._keys.update(key.tobytes().hex() for key in part.keys)
        self._num_tokens += int(part.lengths.sum())
        self._num_parts += 1

    def _flush(self) -> None:
        write_part(self._parts_dir / part_name(self._num_parts), self._pending, self._codec)
        sync_folder(self._parts_dir)
        self._num_parts += 1
        self._num_tokens += self._pending_tokens
        self._pending, self._pending_tokens = [], 0


def part_name(number: int) -> str:
    """The file of the `number`-th part."""
    return f"signal-{number:05d}.safetensors"


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
