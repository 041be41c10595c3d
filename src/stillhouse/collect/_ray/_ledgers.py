"""The ledgers of workers: found on every machine, brought here, merged and removed.

A ledger is removed only after the merge is on disk; until then every attempt finds it again.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stillhouse.collect._purse import add_lost_usd
from stillhouse.collect._ray._cluster import Cluster, LostNodeError, Node
from stillhouse.errors import ConfigError
from stillhouse.runlog import Ledger, LedgerTotals

logger = logging.getLogger(__name__)

_PIECE_BYTES = 64 * 1024 * 1024
_STILL_WRITTEN_S = 45.0  # longer than a ledger believes in a worker whose machine it cannot ask
_LOOK_AGAIN_S = 0.25


class WorkerLedgers:
    """The ledgers that the workers of one run leave.

    Args:
        ledger: Into which they are merged.
        folders: Where they may be, on any machine.
        run: With which their names begin.
        cluster: The machines.

    Attributes:
        run: As given.
    """

    def __init__(self, ledger: Ledger, folders: Sequence[Path], run: str, cluster: Cluster) -> None:
        self._ledger = ledger
        self._folders = folders
        self.run = run
        self._cluster = cluster

    def take_over_all(self) -> None:
        """Merge what earlier attempts at this run left on the machines that are there."""
        for path in list_ledgers(self._folders, self.run):
            self._merge(path)
        for node, found in self._cluster.call_elsewhere(list_ledgers, self._folders, self.run):
            for path in found:
                with suppress(LostNodeError):
                    self.take_over(path, node)

    def note_lost(self, node: Node, num_calls: int, usd: float) -> None:
        """Say, and keep, that a ledger is gone with its machine."""
        logger.warning(
            "The machine %s is gone with the ledger of a worker: up to %d calls, $%.4f under a "
            "budget, may be paid again.",
            node.host,
            num_calls,
            usd,
        )
        add_lost_usd(self._ledger, usd)

    def tidy(self) -> None:
        """Remove folders of this machine in which no ledger is left."""
        for folder in self._folders:
            with suppress(OSError):  # it is not there, or others are in it
                folder.expanduser().rmdir()

    def take_over(self, path: Path, node: Node) -> LedgerTotals | None:
        """Merge one worker's ledger; what it came to, or None where it wrote none.

        Raises:
            LostNodeError: its machine is gone, and the ledger with it.
        """
        if path.is_file():
            return self._merge(path)
        num_bytes = self._cluster.call_at(node, settle_ledger, path)
        if num_bytes is None:
            return None
        here = self._ledger.path.with_name(f"{path.name}.part")
        with here.open("wb") as file:
            for start in range(0, num_bytes, _PIECE_BYTES):
                file.write(self._cluster.call_at(node, read_piece, path, start, _PIECE_BYTES))
        totals = self._merge(here)
        self._cluster.call_at(node, remove_ledger, path)
        return totals

    def _merge(self, path: Path) -> LedgerTotals:
        settle_ledger(path)
        self._ledger.merge(path)
        with Ledger(path) as ledger:
            totals = ledger.totals()
        remove_ledger(path)
        return totals


def list_ledgers(folders: Sequence[Path], run: str) -> list[Path]:
    """Paths of the ledgers of a run on this machine."""
    return sorted(
        path for folder in folders for path in folder.expanduser().glob(f"{run}.*.sqlite")
    )


def settle_ledger(path: Path) -> int | None:
    """Give up what a worker has left open, once its process is gone; the bytes of its file.

    Raises:
        ConfigError: the worker still runs.
    """
    if not path.is_file():
        return None
    give_up_s = time.monotonic() + _STILL_WRITTEN_S
    with Ledger(path) as ledger:
        while ledger.has_other_writers():
            if time.monotonic() > give_up_s:
                raise ConfigError(f"{path} is still written by a worker. Stop it, then run again.")
            time.sleep(_LOOK_AGAIN_S)
        if ledger.open_calls():
            ledger.settle_orphans()
    return path.stat().st_size


def read_piece(path: Path, start: int, num_bytes: int) -> bytes:
    """Bytes of a file, fewer at its end."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(num_bytes)


def remove_ledger(path: Path) -> None:
    """Remove a ledger and what SQLite keeps beside it."""
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
