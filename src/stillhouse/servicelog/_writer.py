"""The thread that writes a log, so that no request waits for a disk."""

import logging
import os
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Literal

import orjson

from stillhouse.errors import ConfigError
from stillhouse.servicelog._config import LogConfig
from stillhouse.servicelog._content import Scrub, prepared
from stillhouse.servicelog._file import LogFile
from stillhouse.servicelog._rows import RawRow

logger = logging.getLogger(__name__)

_LINGER_S = 0.05  # rows are written together: waking for each of them would take the loop's time
_MOST_ROWS = 1000  # of one write

MakeRow = Callable[[], RawRow]


@dataclass(frozen=True, slots=True)
class LogState:
    """How a log is doing.

    Attributes:
        state: `failing` while the disk refuses rows.
        written: Rows in files.
        dropped_waiting: Rows dropped because too many waited already.
        dropped_disk: Rows dropped because they could not be written.
        problem: What the disk said last; empty where nothing is wrong.
    """

    state: Literal["writing", "failing"]
    written: int
    dropped_waiting: int
    dropped_disk: int
    problem: str

    @property
    def dropped(self) -> int:
        """Rows that are in no file."""
        return self.dropped_waiting + self.dropped_disk


@dataclass(slots=True)
class _Counts:
    """What the thread tells; each is written by one thread."""

    written: int = 0
    dropped_waiting: int = 0
    dropped_disk: int = 0
    problem: str = ""


class LogWriter:
    """Appends rows to files of a folder; `put` never waits and never fails.

    What cannot be written is dropped and counted, and writing goes on as soon as it is possible
    again: a full disk is no reason to answer nobody.

    Args:
        config: Where, and how much of it.
        scrub: Replaces personal data in texts, where the config asks for it.

    Raises:
        ConfigError: the folder cannot be made or written in.
    """

    def __init__(self, config: LogConfig, *, scrub: Scrub | None = None) -> None:
        self.config = config
        self._scrub = scrub if config.scrub else None
        self._name = secrets.token_hex(4)
        self._num_files = 0
        self._counts = _Counts()
        self._rows: queue.SimpleQueue[MakeRow | threading.Event | None] = queue.SimpleQueue()
        self._is_closing = threading.Event()
        self._file: LogFile | None = self._first_file()
        self._retry_at_s = 0.0
        self._sync_at_s = 0.0
        self._thread = threading.Thread(target=self._work, name="service log", daemon=True)
        self._thread.start()

    @property
    def state(self) -> LogState:
        """How it is doing."""
        counts = self._counts
        return LogState(
            state="failing" if counts.problem else "writing",
            written=counts.written,
            dropped_waiting=counts.dropped_waiting,
            dropped_disk=counts.dropped_disk,
            problem=counts.problem,
        )

    def put(self, make: MakeRow) -> None:
        """Have a row written.

        Args:
            make: Gives the row; called in the writer's thread.
        """
        if self._rows.qsize() >= self.config.max_waiting_rows:
            self._counts.dropped_waiting += 1
        else:
            self._rows.put(make)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until what was put before is written or dropped; False where it took too long."""
        done = threading.Event()
        self._rows.put(done)
        return done.wait(timeout_s)

    def close(self) -> None:
        """Write what waits, and end the thread; may be called twice."""
        if not self._is_closing.is_set():
            self._is_closing.set()
            self._rows.put(None)
        self._thread.join()

    def _first_file(self) -> LogFile:
        folder = self.config.folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._new_file()
        except OSError as err:
            raise ConfigError(
                f"Nothing can be logged in {folder} ({err.strerror or err}). Give --log a folder "
                "that this user may write in, on a disk with room."
            ) from err

    def _new_file(self) -> LogFile:
        self._num_files += 1
        return LogFile(self.config.folder, f"{os.getpid()}-{self._name}", self._num_files)

    # What follows runs in the thread.

    def _work(self) -> None:
        is_open = True
        while is_open:
            makes, waiters, is_open = self._taken()
            if makes:
                self._write(makes)
            self._sync(is_due=not is_open or monotonic() >= self._sync_at_s)
            for waiter in waiters:
                waiter.set()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _taken(self) -> tuple[list[MakeRow], list[threading.Event], bool]:
        """Rows to write together, who waits for them, and whether more may follow."""
        makes: list[MakeRow] = []
        waiters: list[threading.Event] = []
        needs_sync = self._file is not None and not self._file.is_synced
        try:
            item = self._rows.get(timeout=self.config.sync_s if needs_sync else None)
            if not isinstance(item, threading.Event):  # nobody lingers while somebody waits
                self._is_closing.wait(_LINGER_S)
            while True:
                if item is None:
                    return makes, waiters, False
                if isinstance(item, threading.Event):
                    waiters.append(item)
                else:
                    makes.append(item)
                if len(makes) >= _MOST_ROWS:
                    break
                item = self._rows.get_nowait()
        except queue.Empty:
            pass
        return makes, waiters, True

    def _write(self, makes: list[MakeRow]) -> None:
        if self._counts.problem and monotonic() < self._retry_at_s:
            self._counts.dropped_disk += len(makes)
            return
        lines = [line for make in makes if (line := self._line(make)) is not None]
        if not lines:
            return
        try:
            self._ready_file().append(b"".join(lines))
        except OSError as err:
            self._fail(err, len(lines))
            return
        self._counts.written += len(lines)
        if self._counts.problem:
            self._counts.problem = ""
            logger.warning("requests are logged again; %d were not", self._counts.dropped_disk)

    def _line(self, make: MakeRow) -> bytes | None:
        # The event loop may wait for this thread at each of its system calls: without a break
        # between rows it would, for as long as a switch interval each time.
        sleep(0)
        try:
            row = prepared(make(), self.config.content, self._scrub)
            return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
        except Exception:  # one row that cannot be written must not end the log of all others
            self._counts.dropped_disk += 1
            logger.exception("a request could not be put into a row of the log")
            return None

    def _ready_file(self) -> LogFile:
        """The file that takes the next lines."""
        file = self._file
        if file is not None and (
            file.size >= self.config.max_file_bytes
            or (file.size and file.day != datetime.now(UTC).date())
        ):
            self._end_file()
            file = None
        if file is None:
            self._file = file = self._new_file()
        return file

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _fail(self, err: OSError, num_rows: int) -> None:
        """Count what is lost, say so once, and begin a new file when it is tried again."""
        self._counts.dropped_disk += num_rows
        problem = err.strerror or str(err)
        if not self._counts.problem:
            logger.error(
                "requests are answered and not logged: %s (%s). It is tried again every %g s; "
                "/metrics counts them",
                self.config.folder,
                problem,
                self.config.retry_s,
            )
        self._counts.problem = problem
        self._retry_at_s = monotonic() + self.config.retry_s
        self._end_file()  # its place may be the problem: a limit on its size, a disk that is gone

    def _sync(self, *, is_due: bool) -> None:
        file = self._file
        if file is None or file.is_synced or not is_due:
            return
        self._sync_at_s = monotonic() + self.config.sync_s
        try:
            file.sync()
        except OSError as err:
            self._fail(err, 0)
