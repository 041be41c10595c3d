"""The SQLite file: opening, transactions, and its errors in the user's words."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stillhouse.errors import ConfigError, IntegrityError, RecordError, StillhouseError
from stillhouse.runlog._ledger._schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION

_MAX_IDS_PER_QUERY = 512  # well under SQLite's limit on parameters in every build (999)
_STATEMENTS_KEPT = 256
_BUSY_PAUSE_S = 0.005
_PRAGMAS = (
    # NORMAL would lose the last commits on power loss: answers that were paid for.
    "PRAGMA synchronous = FULL",
    # 16 MB between checkpoints: pages that many commits touch are copied back once.
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)


class Database:
    """A connection to a ledger file, made when absent; to be used from one thread.

    Args:
        path: The file.
        busy_timeout_s: How long to wait for another process that writes.
        cache_kib: Of pages that are held in memory, at most.

    Raises:
        ConfigError: the file cannot be opened for writing, or another process locks it.
        IntegrityError: it is not a ledger, is damaged, or of another version.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float, cache_kib: int) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise ConfigError(
                f"{path.parent} does not exist; make the folder for the ledger first."
            )
        try:
            self._db = sqlite3.connect(
                path,
                timeout=busy_timeout_s,
                isolation_level=None,
                cached_statements=_STATEMENTS_KEPT,
            )
        except sqlite3.Error as err:
            raise _as_stillhouse_error(path, err) from err
        try:
            self._prepare(busy_timeout_s, cache_kib)
        except BaseException:
            self._db.close()
            raise

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Every row that one statement gives, as tuples."""
        try:
            return self._db.execute(sql, parameters).fetchall()
        except (sqlite3.Error, OverflowError, UnicodeError) as err:
            raise _as_stillhouse_error(self.path, err) from err

    def many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """One statement, once for each of `parameters`."""
        try:
            self._db.executemany(sql, parameters)
        except (sqlite3.Error, OverflowError, UnicodeError) as err:
            raise _as_stillhouse_error(self.path, err) from err

    def rows_for(self, sql: str, keys: Sequence[Any]) -> list[Any]:
        """The rows of a statement whose `{marks}` stand for `keys`, at most 512 at a time."""
        found: list[Any] = []
        for start in range(0, len(keys), _MAX_IDS_PER_QUERY):
            chunk = _padded(keys[start : start + _MAX_IDS_PER_QUERY])
            found += self.rows(sql.format(marks=",".join("?" * len(chunk))), chunk)
        return found

    def next_number(self, table: str) -> int:
        """The number that the next row of `table` gets; hold a transaction while it matters."""
        return int(self.rows(f"SELECT coalesce(max(number), 0) + 1 FROM {table}")[0][0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on disk when it ends."""
        try:
            # IMMEDIATE: a read lock that is upgraded later fails at once beside another writer.
            self.rows("BEGIN IMMEDIATE")
            yield
            self.rows("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self.rows("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._db.close()

    def _prepare(self, busy_timeout_s: float, cache_kib: int) -> None:
        self._is_empty()
        self._use_wal(time.monotonic() + busy_timeout_s)
        for pragma in (*_PRAGMAS, f"PRAGMA cache_size = -{cache_kib}"):
            self.rows(pragma)
        if self._is_empty():
            with self.transaction():
                if self._is_empty():  # another process may have been first
                    for statement in SCHEMA:
                        self.rows(statement)

    def _use_wal(self, deadline_s: float) -> None:
        while True:
            try:
                ((mode,),) = self._db.execute("PRAGMA journal_mode = WAL").fetchall()
                break
            except sqlite3.OperationalError as err:
                # SQLite does not wait here by itself while another process opens the file.
                is_busy = err.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > deadline_s:
                    raise _as_stillhouse_error(self.path, err) from err
                time.sleep(_BUSY_PAUSE_S)
        if mode != "wal":
            raise ConfigError(
                f"{self.path} cannot use SQLite's WAL mode here (got {mode!r}). "
                "Put the ledger on a local disk."
            )

    def _is_empty(self) -> bool:
        """Whether the file is still empty; raises when it is something else than a ledger."""
        # One statement, so that another process cannot make its tables halfway through.
        ((application_id, version, num_tables),) = self.rows(
            "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_master) "
            "FROM pragma_application_id a, pragma_user_version v"
        )
        if application_id == 0 and version == 0 and num_tables == 0:
            return True
        if application_id != APPLICATION_ID:
            raise IntegrityError(
                f"{self.path} is an SQLite file but not a stillhouse ledger. Give another path."
            )
        if version != SCHEMA_VERSION:
            raise IntegrityError(
                f"{self.path} is a ledger of version {version}; this stillhouse reads "
                f"{SCHEMA_VERSION}. Use the version that wrote it, or give another path."
            )
        return False


def _padded(keys: Sequence[Any]) -> list[Any]:
    """`keys` with the last repeated up to a power of two, so that few statements are prepared."""
    size = 1 << (len(keys) - 1).bit_length()
    return [*keys, *[keys[-1]] * (size - len(keys))]


def _as_stillhouse_error(path: Path, err: Exception) -> StillhouseError:
    if not isinstance(err, sqlite3.Error):
        return RecordError(
            f"A row cannot be kept in {path} ({err}). Remove lone surrogates and integers over 64 "
            "bits from it."
        )
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    kind, advice = _ADVICE.get(code, _OTHERWISE)
    return kind(f"{path} {advice.format(err=err)}")


_CANNOT_WRITE = (
    ConfigError,
    "cannot be opened for writing ({err}). Check that file and folder are writable, or give "
    "another path for the ledger.",
)
_LOCKED = (ConfigError, "is locked by another process. Wait for it, or stop it.")
_OTHERWISE = (ConfigError, "cannot be used ({err}). Check the disk, then run again.")
_ADVICE: dict[int, tuple[type[StillhouseError], str]] = {
    sqlite3.SQLITE_NOTADB: (
        IntegrityError,
        "is not an SQLite file. Give another path for the ledger.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        IntegrityError,
        "is damaged ({err}). Restore it from a backup, or give another path.",
    ),
    sqlite3.SQLITE_FULL: (
        ConfigError,
        "cannot grow: the disk is full. Free some space and run the same command again; what is "
        "recorded so far is kept.",
    ),
    sqlite3.SQLITE_TOOBIG: (
        RecordError,
        "cannot keep a row this large ({err}). Leave the prompt or answer out that is over 1 GB.",
    ),
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: (
        ConfigError,
        "is read-only ({err}). Make file and folder writable, or give another path for the ledger.",
    ),
    sqlite3.SQLITE_CANTOPEN: _CANNOT_WRITE,
    sqlite3.SQLITE_PERM: _CANNOT_WRITE,
}
