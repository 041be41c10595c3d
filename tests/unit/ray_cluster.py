"""A Ray cluster of two nodes on this machine, and what workers on it leave behind."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_STORE_BYTES = 80 * 1024 * 1024


@contextmanager
def two_nodes() -> Iterator[Any]:
    """The cluster, with this process connected to it."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def kill_one_worker(folder: Path) -> int | None:
    """SIGKILL the process of a worker that is writing its ledger; its number, None for no such."""
    for path in sorted(folder.glob("*.sqlite")):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            rows = db.execute("SELECT pid FROM workers WHERE ended_utc_ms IS NULL").fetchall()
        finally:
            db.close()
        for (pid,) in rows:
            if pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
                return int(pid)
    return None


def files_with(secret: str, folder: Path) -> list[Path]:
    """Files below a folder that hold a text."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes()
    ]
