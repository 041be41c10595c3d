"""Take what was asked and answered out of a ledger, and keep that it was asked and what it cost.

Bodies lie in segments, several to one frame: a segment that holds one to be erased is written anew
with zeros in its place. SQLite then overwrites the pages that come free, and the write-ahead log is
emptied. What a disk or a backup still holds of the old file is beyond it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stillhouse.errors import ConfigError
from stillhouse.records import Message, Request, Sampling
from stillhouse.runlog._ledger._book import Ledger
from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._packing import (
    Place,
    id_of,
    key_of,
    pack,
    read_segment,
    request_json,
    store,
)

ERASED = "(erased)"
"""What stands for the words and the prompt's name of an erased request."""

_OF_REQUESTS = "SELECT number, id, teacher, segment, offset, length FROM requests WHERE id IN "
_OF_CALLS = "SELECT segment, offset, length FROM calls WHERE segment IS NOT NULL AND request = ?"
_OF_RAW = "SELECT segment, offset, length FROM raw_requests WHERE request = ?"


def erase_calls(path: Path, request_ids: Iterable[str]) -> int:
    """Erase the bodies of requests, and of the calls for them, from the ledger at `path`.

    Ids (hashes of what was asked), teachers, tokens, times and costs stay, so budgets hold and the
    requests count as answered: nobody asks them again.

    Returns:
        How many of `request_ids` were there.

    Raises:
        ConfigError: another process has the ledger open.
        IntegrityError: it is no ledger, or damaged; nothing is changed then.
    """
    with Ledger(path) as ledger:
        if ledger.has_other_writers():
            raise ConfigError(f"{path} is in use. Wait for the other process, or stop it.")
        db = ledger.database
        db.rows("PRAGMA secure_delete = ON")
        with db.transaction():
            keys = [key_of(request_id) for request_id in request_ids]
            found = db.rows_for(f"{_OF_REQUESTS} ({{marks}})", keys) if keys else []
            found = list({row[0]: row for row in found}.values())
            _blank(db, found)
        db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    return len(found)


def _blank(db: Database, found: Sequence[tuple[Any, ...]]) -> None:
    places: list[Place] = []
    for number, _, _, *place in found:
        places.append((place[0], place[1], place[2]))
        places += db.rows(_OF_CALLS, (number,)) + db.rows(_OF_RAW, (number,))
    by_segment: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for segment, offset, length in places:
        by_segment[segment].append((offset, length))
    for segment, ranges in by_segment.items():
        data = bytearray(read_segment(db, segment))
        for offset, length in ranges:
            data[offset : offset + length] = bytes(length)
        ((_, packed, raw_bytes),) = pack([bytes(data)])
        db.many(
            "UPDATE segments SET raw_bytes = ?, data = ? WHERE number = ?",
            [(raw_bytes, packed, segment)],
        )
    numbers = [(row[0],) for row in found]
    db.many("DELETE FROM raw_requests WHERE request = ?", numbers)
    db.many("UPDATE calls SET length = 0, error_message = NULL WHERE request = ?", numbers)
    teachers = dict(db.rows("SELECT number, id FROM teachers"))
    bodies = [_placeholder(id_of(row[1]), teachers[row[2]]) for row in found]
    db.many(
        "UPDATE requests SET prompt_id = ?, segment = ?, offset = ?, length = ? WHERE number = ?",
        [
            (ERASED, *place, row[0])
            for row, place in zip(found, store(db, pack(bodies)), strict=True)
        ],
    )


def _placeholder(request_id: str, teacher: str) -> bytes:
    return request_json(
        Request(
            id=request_id,
            prompt_id=ERASED,
            teacher=teacher,
            messages=(Message(role="user", content=ERASED),),
            sampling=Sampling(),
        )
    )
