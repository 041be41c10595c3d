"""What happened during a run: the ledger of requests, the metrics, the progress.

The library never draws and never configures logging; it reports `Progress` to a listener and
appends metrics to JSON lines.
"""

from stillhouse.runlog._answer import Answer
from stillhouse.runlog._ledger import (
    Batch,
    BatchState,
    Claim,
    Ledger,
    LedgerTotals,
    OpenCall,
    ReadPosition,
    Recorded,
    RoomFrom,
    Shortage,
    erase_calls,
)
from stillhouse.runlog._metrics import MetricsLog, read_metrics
from stillhouse.runlog._numbering import Numbering, Sample
from stillhouse.runlog._progress import Listener, Progress, Ticker, ignore_progress
from stillhouse.runlog._trackers import (
    TRACKERS,
    joined_listeners,
    open_tracker,
    tracking,
)

__all__ = [
    "Progress",
    "Listener",
    "Ticker",
    "ignore_progress",
    "TRACKERS",
    "open_tracker",
    "tracking",
    "joined_listeners",
    "Answer",
    "Ledger",
    "erase_calls",
    "Numbering",
    "Sample",
    "Claim",
    "Shortage",
    "RoomFrom",
    "LedgerTotals",
    "OpenCall",
    "Batch",
    "BatchState",
    "ReadPosition",
    "Recorded",
    "MetricsLog",
    "read_metrics",
]
