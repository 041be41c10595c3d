"""Surveys that a ledger remembers, so that a large file is not read again when it is known.

Of each file that was surveyed the ledger keeps three things under its SHA-256: an entry with its
size, the survey, and the hashes of its rows in parts. A file whose first bytes are those of an
entry has grown: the parts are taken up, and only what follows is read.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from stillhouse.collect._source import PromptSource
from stillhouse.collect._survey import ROW_HASHES, KeptRows, Mark, Survey, Surveyor
from stillhouse.errors import RecordError
from stillhouse.records import Record
from stillhouse.runlog import Ledger

# The number changes with what is kept: older versions find theirs, and nothing of ours.
_ENTRY, _SURVEY, _ROWS = "survey-3", "survey-3-found", "survey-3-rows"
_PART_ROWS = 65_536  # 1.8 MB: what is encoded at once adds little to the memory of a survey
_CHUNK_BYTES = 1 << 20
_GROWS_IN_PLACE = (".jsonl", ".csv")
"""Files of whose first bytes the first rows are made; the last of these may go on."""


class _Entry(Record):
    """A file that was surveyed.

    Attributes:
        num_bytes: Its size.
        num_prompts: Its rows.
        sha256: Of these.
        mark: Before its last row: what was kept of the rows goes as far.
        teachers: As of `Surveyor`, up to there.
        grown_from: As of `Survey`.
        last_part: Key of the last part of the rows; None where there is none.
    """

    num_bytes: int
    num_prompts: int
    sha256: str
    mark: tuple[int, int, str]
    teachers: dict[str, int]
    grown_from: tuple[str, ...]
    last_part: str | None


class _Part(Record):
    """Rows of a file that stand together: `ROW_HASHES` in base64, and the part before them."""

    before: str | None
    rows: str


class SurveyMemory:
    """The survey of the prompts, made now or remembered.

    Args:
        source: The prompts.
        ledger: What may remember them; None where there is no ledger yet.

    Attributes:
        survey: The survey.

    Raises:
        RecordError, DataError: as in `PromptSource.survey`, or the file changed meanwhile.
    """

    def __init__(self, source: PromptSource, ledger: Ledger | None) -> None:
        self._source = source
        self._surveyor: Surveyor | None = None
        self._loaded: _Entry | None = None
        known = None if ledger is None else _known_survey(source, ledger)
        self.survey = known or self._survey(ledger)

    def keep(self, ledger: Ledger) -> None:
        """Have the ledger remember what it does not know yet, and let go of the rows."""
        surveyor, self._surveyor = self._surveyor, None
        path = self._source.path
        if surveyor is None or path is None:
            return
        ledger.keep_memo(_key(_SURVEY, self._source), self.survey.to_text())
        entry = _Entry(
            num_bytes=path.stat().st_size,
            num_prompts=self.survey.num_prompts,
            sha256=self.survey.sha256,
            mark=surveyor.mark_before_last,
            teachers=surveyor.teachers,
            grown_from=self.survey.grown_from,
            last_part=self._keep_rows(surveyor, ledger),
        )
        # The last to be written: what it speaks of is there.
        ledger.keep_memo(_key(_ENTRY, self._source), entry.model_dump_json())

    def _survey(self, ledger: Ledger | None) -> Survey:
        entries = [] if ledger is None else _entries(ledger)
        known = [(entry.num_prompts, entry.sha256) for _, entry in entries]
        self._surveyor = Surveyor(known)
        if ledger is not None:
            self._loaded = _load_first_rows(self._source, ledger, entries, self._surveyor)
        try:
            survey = self._source.survey(self._surveyor)
        except RecordError:
            if self._loaded is None:
                raise
            # From the beginning, for the number of the line.
            self._surveyor, self._loaded = Surveyor(known), None
            survey = self._source.survey(self._surveyor)
        self._source.check_unchanged()
        return survey

    def _keep_rows(self, surveyor: Surveyor, ledger: Ledger) -> str | None:
        """Keep those that are not kept yet; the key of the last part of all."""
        num_kept, last = 0, None
        if self._loaded is not None:
            num_kept, last = self._loaded.mark[0], self._loaded.last_part
        num_rows = surveyor.mark_before_last.num_rows
        for start in range(num_kept, num_rows, _PART_ROWS):
            stop = min(start + _PART_ROWS, num_rows)
            rows = b64encode(surveyor.kept_rows(start, stop).tobytes()).decode()
            part = _Part(before=last, rows=rows)
            last = f"{_key(_ROWS, self._source)}:{stop}"
            ledger.keep_memo(last, part.model_dump_json())
        return last


def _known_survey(source: PromptSource, ledger: Ledger) -> Survey | None:
    if source.path is None or ledger.memo(_key(_ENTRY, source)) is None:
        return None
    text = ledger.memo(_key(_SURVEY, source))
    return None if text is None else Survey.from_text(text)


def _key(kind: str, source: PromptSource) -> str:
    assert source.path is not None
    # The same bytes are other rows in a file of another type.
    return f"{kind}{source.path.suffix}:{source.file_sha256}"


def _entries(ledger: Ledger) -> list[tuple[str, _Entry]]:
    """The files that the ledger remembers, each with its key."""
    return [
        (key, _Entry.model_validate(orjson.loads(text))) for key, text in ledger.memos(f"{_ENTRY}.")
    ]


def _load_first_rows(
    source: PromptSource,
    ledger: Ledger,
    entries: Collection[tuple[str, _Entry]],
    surveyor: Surveyor,
) -> _Entry | None:
    """Have `surveyor` take up the rows of the largest file that this one has grown from, if any."""
    if source.path is None or source.path.suffix not in _GROWS_IN_PLACE:
        return None
    num_bytes = source.path.stat().st_size
    smaller = {key: entry for key, entry in entries if entry.num_bytes < num_bytes}
    hashes = _prefix_hashes(source.path, {entry.num_bytes for entry in smaller.values()})
    stem = f"{_ENTRY}{source.path.suffix}:"
    grown = [
        entry for key, entry in smaller.items() if key == stem + hashes.get(entry.num_bytes, "")
    ]
    if not grown:
        return None
    entry = max(grown, key=lambda one: one.num_bytes)
    parts = list(_parts(ledger, entry.last_part))[::-1]
    if sum(map(len, parts)) != entry.mark[0]:
        return None
    surveyor.load(KeptRows(Mark(*entry.mark), entry.teachers, entry.grown_from, parts))
    return entry


def _prefix_hashes(path: Path, sizes: Collection[int]) -> dict[int, str]:
    """SHA-256 of the first so many bytes of a file, for several numbers, in one reading."""
    digest, num_read = hashlib.sha256(), 0
    hashes: dict[int, str] = {}
    with path.open("rb") as stream:
        for size in sorted(sizes):
            while chunk := stream.read(min(_CHUNK_BYTES, size - num_read)):
                digest.update(chunk)
                num_read += len(chunk)
            hashes[size] = digest.hexdigest()
    return hashes


def _parts(ledger: Ledger, key: str | None) -> Iterator[npt.NDArray[np.void]]:
    """The parts of the rows, the last one first, as far as they are there."""
    while key is not None:
        text = ledger.memo(key)
        if text is None:
            return
        part = _Part.model_validate(orjson.loads(text))
        yield np.frombuffer(b64decode(part.rows), dtype=ROW_HASHES)
        key = part.before
