"""The ledger: what was asked, answered and paid, in one SQLite file that outlives the artefacts.

A *call* is one attempt at one request. Its intent is written before the request leaves and its
answer before anybody counts it, so that after a crash every call is known to be answered, failed,
or without an outcome ("unknown, maybe paid"). Identity is `Request.id`, the hash of what is asked.

How it is laid out, and why:

- `requests` holds each request once, `calls` each call that has ended, both in the order of
  arrival. `open_calls` holds the intents, at most one per request: a row leaves it when its call
  ends. So whatever asks about the present reads a table as small as what is in flight, and the
  big tables are only ever appended to.
- Bodies are stored as they came, in `segments`: those of one group together in one zstd frame.
  That takes a third of the CPU and half of the bytes of a frame for each, and leaves rows narrow.
- `sums` adds up `calls` and `open_calls` by teacher and outcome in the transaction that changes
  the rows, so totals cost the same at a million rows as at ten, and so does a budget: `claim` opens
  no call whose reserve does not fit under the limit beside what is spent and what is reserved, and
  as it does so in one transaction, that holds for any number of processes.
- A *worker* is one open `Ledger`. A call blocks others while its worker lives: on the same machine
  that is asked of the operating system (pid and start time), whatever the clock says; elsewhere
  its heartbeat has to be younger than 30 s. Calls of a batch block until the batch is settled.
- A call whose worker is gone becomes `lost`: unknown, maybe paid, no longer in the way. An answer
  to it that turns up later takes its place.
- To resume, a run keeps how far its prompts were read: everything before was once handed to
  `claim`. Which of those still lack an answer needs no row per request: open, failed and lost calls
  carry their run, and the rare request that `claim` refused because another run was asking it is
  noted in `held`. All three are small, so answered rows are never looked through.
"""

from stillhouse.runlog._ledger._book import Ledger
from stillhouse.runlog._ledger._erase import erase_calls
from stillhouse.runlog._ledger._records import (
    Batch,
    BatchState,
    Claim,
    LedgerTotals,
    OpenCall,
    ReadPosition,
    Recorded,
    RoomFrom,
    Shortage,
)

__all__ = [
    "Ledger",
    "erase_calls",
    "Claim",
    "Shortage",
    "RoomFrom",
    "LedgerTotals",
    "OpenCall",
    "Batch",
    "BatchState",
    "ReadPosition",
    "Recorded",
]
