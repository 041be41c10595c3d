"""Where runs stand: how far their prompts were read, and what of that has no answer yet."""

from array import array
from collections.abc import Iterator
from dataclasses import replace

from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._packing import id_of
from stillhouse.runlog._ledger._records import ReadPosition
from stillhouse.runlog._ledger._schema import IS_ANSWER, IS_NO_ANSWER

_UNANSWERED = (
    "SELECT request FROM ("
    "SELECT request FROM open_calls WHERE run = ?1 "
    # INDEXED BY: an error where the index cannot serve, never a look through every call.
    "UNION SELECT request FROM calls INDEXED BY calls_unanswered "
    f"WHERE run = ?1 AND {IS_NO_ANSWER} "
    "UNION SELECT request FROM held WHERE run = ?1) AS asked "
    f"WHERE NOT EXISTS (SELECT 1 FROM calls WHERE request = asked.request AND {IS_ANSWER}) "
    "ORDER BY request"
)
_IDS_AT_ONCE = 512


def run_number(db: Database, run_key: str) -> int:
    """The number of a run, new or known; in a transaction of the caller."""
    found = db.rows("SELECT number FROM runs WHERE key = ?", (run_key,))
    if found:
        return int(found[0][0])
    number = db.next_number("runs")
    db.rows("INSERT INTO runs (number, key) VALUES (?, ?)", (number, run_key))
    return number


def note_read(db: Database, run: int, position: ReadPosition) -> None:
    """Move a run's position forward; in a transaction of the caller."""
    db.rows(
        "UPDATE runs SET offset_bytes = ?1, num_rows = ?2, prefix_sha256 = ?3 "
        "WHERE number = ?4 AND (prefix_sha256 IS NULL OR offset_bytes < ?1)",
        (position.offset_bytes, position.num_rows, position.prefix_sha256, run),
    )


def read_position(db: Database, run_key: str) -> ReadPosition | None:
    """How far the prompts of a run were read, if that was ever noted."""
    found = db.rows(
        "SELECT offset_bytes, num_rows, prefix_sha256 FROM runs "
        "WHERE key = ? AND prefix_sha256 IS NOT NULL",
        (run_key,),
    )
    return ReadPosition(*found[0]) if found else None


def unanswered(db: Database, run_key: str) -> Iterator[str]:
    """Ids of the requests of a run that have no answer, oldest first."""
    found = db.rows("SELECT number FROM runs WHERE key = ?", (run_key,))
    if not found:
        return
    # Numbers at 8 bytes each, names only as they are handed out: there may be a million.
    numbers = array("q", (number for (number,) in db.rows(_UNANSWERED, found[0])))
    for start in range(0, len(numbers), _IDS_AT_ONCE):
        chunk = numbers[start : start + _IDS_AT_ONCE]
        rows = db.rows_for(
            "SELECT id FROM requests WHERE number IN ({marks}) ORDER BY number", chunk
        )
        for (key,) in rows:
            yield id_of(key)


def continue_run(db: Database, run_key: str, earlier_key: str, prefix_sha256: str) -> None:
    """Have a run begin where an earlier one stands; in a transaction of the caller."""
    earlier = read_position(db, earlier_key)
    if earlier is None or read_position(db, run_key) is not None:
        return
    run = run_number(db, run_key)
    # What the earlier one has no answer to is the new one's as if it had been refused it.
    db.rows(
        f"INSERT OR IGNORE INTO held SELECT ?2, request FROM ({_UNANSWERED})",
        (run_number(db, earlier_key), run),
    )
    note_read(db, run, replace(earlier, prefix_sha256=prefix_sha256))


def memos(db: Database, prefix: str) -> list[tuple[str, str]]:
    """Keys that begin with `prefix`, each with what was kept under it."""
    # As a range, which is looked up in the order of the keys; LIKE looks at each.
    return db.rows(
        "SELECT key, text FROM memos WHERE key >= ?1 AND key < ?1 || char(1114111)", (prefix,)
    )


def memo(db: Database, key: str) -> str | None:
    """What was kept under `key`, if anything."""
    found = db.rows("SELECT text FROM memos WHERE key = ?", (key,))
    return str(found[0][0]) if found else None


def keep_memo(db: Database, key: str, text: str) -> None:
    """Keep a text under `key`; in a transaction of the caller."""
    db.rows("INSERT OR REPLACE INTO memos VALUES (?, ?)", (key, text))
