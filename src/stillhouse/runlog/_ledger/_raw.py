"""Requests as applications sent them, and what was answered, in the order of recording.

`Request` holds what is modelled of a request; where it was not made here but recorded, its own
bytes are kept beside it, so that they can be read again by a reader that knows more.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from stillhouse.runlog._ledger._answers import ANSWER_COLUMNS, read_row
from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._packing import key_of, load, load_requests, pack, store
from stillhouse.runlog._ledger._records import Recorded
from stillhouse.runlog._ledger._schema import IS_ANSWER

_BODIES_AT_ONCE = 128
# The body of an erased call is empty: nothing can be read from it any more.
_FIRST = (
    f"c.{IS_ANSWER} AND c.length > 0 AND c.number = "
    f"(SELECT min(number) FROM calls WHERE request = c.request AND {IS_ANSWER})"
)
_PAGE = (
    "SELECT c.number, q.segment, q.offset, q.length, r.segment, r.offset, "
    f"r.length, r.id, {ANSWER_COLUMNS} FROM calls c JOIN requests r ON r.number = c.request "
    "LEFT JOIN raw_requests q ON q.request = c.request "
    f"WHERE c.number > ? AND c.number <= ? AND {_FIRST} ORDER BY c.number LIMIT {_BODIES_AT_ONCE}"
)


def keep_raw(db: Database, bodies: Mapping[str, bytes]) -> None:
    """Keep the bodies of requests under their ids, in a transaction of the caller.

    A request that is asked again is kept as it was asked last.
    """
    if not bodies:
        return
    keys = [key_of(request_id) for request_id in bodies]
    found = dict(db.rows_for("SELECT id, number FROM requests WHERE id IN ({marks})", keys))
    places = store(db, pack(bodies.values()))
    db.many(
        "INSERT OR REPLACE INTO raw_requests VALUES (?, ?, ?, ?)",
        [(found[key], *place) for key, place in zip(keys, places, strict=True)],
    )


def recorded(db: Database, *, up_to: int) -> Iterator[Recorded]:
    """The first answer to every request, in the order of recording, up to a call's number."""
    after = 0
    while rows := db.rows(_PAGE, (after, up_to)):
        yield from _read_page(db, rows)
        after = rows[-1][0]


def extent(db: Database) -> tuple[int, str]:
    """The number of the last call, and a SHA-256 over all that `recorded` gives up to there."""
    ((last,),) = db.rows("SELECT coalesce(max(number), 0) FROM calls")
    digest = hashlib.sha256()
    after = 0
    while rows := db.rows(
        "SELECT c.number, r.id, c.answered_utc_ms FROM calls c JOIN requests r "
        f"ON r.number = c.request WHERE c.number > ? AND c.number <= ? AND {_FIRST} "
        "ORDER BY c.number LIMIT 4096",
        (after, last),
    ):
        for _, key, answered_utc_ms in rows:
            digest.update(key if isinstance(key, bytes) else key.encode())
            digest.update(b"%d;" % answered_utc_ms)
        after = rows[-1][0]
    return int(last), digest.hexdigest()


def _read_page(db: Database, rows: list[Any]) -> Iterator[Recorded]:
    requests = load_requests(db, [row[4:7] for row in rows])
    bodies = load(db, [row[-3:] for row in rows])
    with_raw = [row for row in rows if row[1] is not None]
    raw_bodies = dict(
        zip((row[0] for row in with_raw), load(db, [row[1:4] for row in with_raw]), strict=True)
    )
    for row, request, body in zip(rows, requests, bodies, strict=True):
        yield Recorded(
            request=request,
            answer=read_row(row[7:], body),
            raw_request=raw_bodies.get(row[0]),
        )
