"""Requests that were handed over to a provider's batch API together."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace

from stillhouse.errors import IntegrityError
from stillhouse.records import ItemError, Request
from stillhouse.runlog._ledger._answers import end_without_answer
from stillhouse.runlog._ledger._claims import Claimant, claim
from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._packing import load_requests, storable
from stillhouse.runlog._ledger._records import (
    FINAL_BATCH_STATES,
    Batch,
    BatchState,
    Claim,
    utc_of,
)
from stillhouse.runlog._ledger._workers import now_ms

_COLUMNS = "id, provider, remote_id, state, num_requests, created_utc_ms, settled_utc_ms, note"
_REQUESTS_AT_ONCE = 128


def open_batch(
    db: Database,
    claimant: Claimant,
    provider: str,
    requests: Sequence[Request],
    reserved_usd: Sequence[float] | None,
    cap_usd: float | None,
) -> Claim:
    """Open the calls of a batch, in a transaction of the caller; none where none can be claimed."""
    number = db.next_number("batches")
    in_batch = Claimant(claimant.worker, claimant.run, number)
    claimed = claim(db, in_batch, requests, reserved_usd, cap_usd)
    if not claimed.requests:
        return claimed
    batch_id = secrets.token_hex(8)
    db.rows(
        f"INSERT INTO batches (number, {_COLUMNS}) "
        "VALUES (?, ?, ?, NULL, 'opened', ?, ?, NULL, '')",
        (number, batch_id, provider, len(claimed.requests), now_ms()),
    )
    return replace(claimed, batch=_find(db, batch_id))


def name_batch(db: Database, batch_id: str, remote_id: str) -> None:
    """Keep the provider's name of a batch, which now runs; in a transaction of the caller.

    Raises:
        IntegrityError: it has another name already, and would be lost at the provider.
    """
    batch = _find(db, batch_id)
    if batch.remote_id not in (None, remote_id):
        raise IntegrityError(
            f"{db.path}: batch {batch_id} is {batch.remote_id!r} at {batch.provider}, so it cannot "
            f"be {remote_id!r} as well. Cancel the second one there."
        )
    db.rows(
        "UPDATE batches SET remote_id = ?, state = CASE state WHEN 'opened' THEN 'running' "
        "ELSE state END WHERE id = ?",
        (remote_id, batch_id),
    )


def set_batch_state(db: Database, batch_id: str, state: BatchState, note: str) -> None:
    """Say where a batch stands, in a transaction of the caller.

    `settled` gives up what is still open of it (lost), `failed` ends it as errors: the provider
    ran none of it.
    """
    _find(db, batch_id)
    is_final = state in FINAL_BATCH_STATES
    db.rows(
        "UPDATE batches SET state = ?, note = ?, settled_utc_ms = ? WHERE id = ?",
        (state, storable(note), now_ms() if is_final else None, batch_id),
    )
    if is_final:
        left = db.rows(
            "SELECT request FROM open_calls "
            "WHERE batch = (SELECT number FROM batches WHERE id = ?)",
            (batch_id,),
        )
        error = ItemError(type="batch_failed", message=note or "refused", retryable=True)
        end_without_answer(
            db,
            [request for (request,) in left],
            as_lost=state == "settled",
            error=error if state == "failed" else None,
        )


def batches(db: Database, state: BatchState | None) -> list[Batch]:
    """Every batch, or those in one state, oldest first."""
    which = "" if state is None else "WHERE state = ?"
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM batches {which} ORDER BY number", () if state is None else (state,)
    )
    return [_batch(*row) for row in rows]


def batch_requests(db: Database, batch_id: str) -> Iterator[Request]:
    """The requests of a batch that have no outcome yet, in the order they were claimed."""
    _find(db, batch_id)
    last = 0
    while rows := db.rows(
        "SELECT o.request, r.segment, r.offset, r.length FROM open_calls o "
        "JOIN requests r ON r.number = o.request "
        "WHERE o.batch = (SELECT number FROM batches WHERE id = ?) AND o.request > ? "
        f"ORDER BY o.request LIMIT {_REQUESTS_AT_ONCE}",
        (batch_id, last),
    ):
        yield from load_requests(db, [(segment, at, size) for _, segment, at, size in rows])
        last = rows[-1][0]


def _find(db: Database, batch_id: str) -> Batch:
    rows = db.rows(f"SELECT {_COLUMNS} FROM batches WHERE id = ?", (batch_id,))
    if not rows:
        raise IntegrityError(
            f"{db.path} holds no batch {batch_id!r}. Use the ledger that it was opened in."
        )
    return _batch(*rows[0])


def _batch(
    batch_id: str,
    provider: str,
    remote_id: str | None,
    state: BatchState,
    num_requests: int,
    created_utc_ms: int,
    settled_utc_ms: int | None,
    note: str,
) -> Batch:
    return Batch(
        id=batch_id,
        provider=provider,
        remote_id=remote_id,
        state=state,
        num_requests=num_requests,
        created_utc=utc_of(created_utc_ms),
        settled_utc=None if settled_utc_ms is None else utc_of(settled_utc_ms),
        note=note,
    )
