"""The ledger: what was asked, answered and paid, in one SQLite file that outlives the artefacts.

A *call* is one attempt at one request. It is written before the request leaves, and its answer is
written before anybody counts it, so that after a crash every call is known to be answered, failed
or open ("unknown, maybe paid"). Identity is `Request.id`, the hash of what is asked.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from stillhouse.errors import ConfigError, IntegrityError, StillhouseError
from stillhouse.records import Completion, Record, Request, canonical_json

_APPLICATION_ID = int.from_bytes(b"Stil", "big")
_SCHEMA_VERSION = 1
_SCHEMA = (
    """
    CREATE TABLE requests (
        id TEXT PRIMARY KEY,
        teacher TEXT NOT NULL,
        prompt_id TEXT NOT NULL,
        request BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE calls (
        number INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL REFERENCES requests (id),
        sent_utc TEXT NOT NULL,
        answered_utc TEXT,
        finish_reason TEXT,
        prompt_tokens INTEGER,
        completion_tokens INTEGER,
        cost_usd REAL,
        completion BLOB
    )
    """,
    "CREATE INDEX calls_answered ON calls (request_id) WHERE finish_reason <> 'error'",
    "CREATE INDEX calls_open ON calls (request_id) WHERE answered_utc IS NULL",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
_IDS_PER_QUERY = 500  # well under SQLite's limit on parameters in every build (999)
_COMPRESS_FROM_BYTES = 1024  # shorter rows stay readable in the sqlite3 shell


@dataclass(frozen=True)
class OpenCall:
    """A request that was sent and whose answer was never recorded: unknown, maybe paid."""

    request_id: str
    prompt_id: str
    teacher: str
    sent_utc: datetime


@dataclass(frozen=True)
class LedgerTotals:
    """Sums over every call in a ledger.

    Attributes:
        num_requests: Different requests ever sent.
        num_calls: Times that one was sent.
        num_answered: Calls with an answer.
        num_failed: Calls that came back as an error.
        num_open: Calls without a recorded outcome.
        prompt_tokens: Read by teachers, as far as they said.
        completion_tokens: Written by teachers, as far as they said.
        cost_usd: Of the answered calls; None when the price of one is unknown.
    """

    num_requests: int
    num_calls: int
    num_answered: int
    num_failed: int
    num_open: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None


class Ledger:
    """An open ledger file, made when absent; several processes may use one.

    Each `record_*` call is one transaction that is on disk (`synchronous=FULL`) when it returns:
    hand over groups, not single rows. To be used from the thread that opened it.

    Raises:
        ConfigError: the file cannot be opened for writing, or another process locks it.
        IntegrityError: it is not a ledger, is damaged, or of another version.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = 30.0) -> None:
        self.path = path
        self._my_open_calls: dict[str, int] = {}
        if not path.parent.is_dir():
            raise ConfigError(
                f"{path.parent} does not exist; make the folder for the ledger first."
            )
        with _mapped_errors(path):
            self._db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def record_sent(self, requests: Sequence[Request]) -> None:
        """Write that `requests` are about to be sent; call it before they are."""
        now = _now()
        numbers: dict[str, int] = {}
        with self._transaction():
            for request in requests:
                self._db.execute(
                    "INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?)",
                    (request.id, request.teacher, request.prompt_id, _pack(request)),
                )
                cursor = self._db.execute(
                    "INSERT INTO calls (request_id, sent_utc) VALUES (?, ?)", (request.id, now)
                )
                numbers[request.id] = cursor.lastrowid or 0
        self._my_open_calls.update(numbers)

    def record_answers(self, completions: Sequence[Completion]) -> None:
        """Write what came back, errors included; call it before counting them as done.

        Raises:
            IntegrityError: a completion answers no call that was recorded as sent.
        """
        now = _now()
        with self._transaction():
            for completion in completions:
                self._db.execute(
                    "UPDATE calls SET answered_utc = ?, finish_reason = ?, prompt_tokens = ?, "
                    "completion_tokens = ?, cost_usd = ?, completion = ? WHERE number = ?",
                    (
                        now,
                        completion.finish_reason,
                        completion.usage.prompt_tokens,
                        completion.usage.completion_tokens,
                        completion.usage.cost_usd,
                        _pack(completion),
                        self._open_call_number(completion.request_id),
                    ),
                )
        for completion in completions:
            self._my_open_calls.pop(completion.request_id, None)

    def answer(self, request_id: str) -> Completion | None:
        """The first answer to one request, or None while it has none; errors do not count."""
        return next(self.answered([request_id]), None)

    def answered(self, request_ids: Iterable[str]) -> Iterator[Completion]:
        """The first answer to each of `request_ids` that has one, in their order."""
        for chunk in _chunks(request_ids):
            found = self._select_answers(chunk, "completion")
            for request_id in chunk:
                if request_id in found:
                    yield self._unpack_completion(request_id, found[request_id])

    def answered_ids(self, request_ids: Iterable[str]) -> set[str]:
        """Those of `request_ids` that have an answer; errors do not count."""
        known: set[str] = set()
        for chunk in _chunks(request_ids):
            known.update(self._select_answers(chunk, "NULL"))
        return known

    def open_intents(self) -> list[OpenCall]:
        """Every call without a recorded outcome, oldest first.

        Those of a process that is still running are among them.
        """
        with _mapped_errors(self.path):
            rows = self._db.execute(
                "SELECT r.id, r.prompt_id, r.teacher, c.sent_utc FROM calls c "
                "JOIN requests r ON r.id = c.request_id "
                "WHERE c.answered_utc IS NULL ORDER BY c.number"
            ).fetchall()
        return [
            OpenCall(request_id, prompt_id, teacher, datetime.fromisoformat(sent_utc))
            for request_id, prompt_id, teacher, sent_utc in rows
        ]

    def totals(self) -> LedgerTotals:
        """Sums over every call."""
        with _mapped_errors(self.path):
            (num_requests,) = self._db.execute("SELECT count(*) FROM requests").fetchone()
            row = self._db.execute(
                "SELECT count(*), coalesce(sum(finish_reason <> 'error'), 0), "
                "coalesce(sum(finish_reason = 'error'), 0), coalesce(sum(prompt_tokens), 0), "
                "coalesce(sum(completion_tokens), 0), coalesce(sum(cost_usd), 0.0), "
                "coalesce(sum(finish_reason <> 'error' AND cost_usd IS NULL), 0) FROM calls"
            ).fetchone()
        (
            num_calls,
            num_answered,
            num_failed,
            prompt_tokens,
            completion_tokens,
            cost_usd,
            unpriced,
        ) = row
        return LedgerTotals(
            num_requests=num_requests,
            num_calls=num_calls,
            num_answered=num_answered,
            num_failed=num_failed,
            num_open=num_calls - num_answered - num_failed,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cost_usd=None if unpriced else cost_usd,
        )

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        self._check_identity()
        (mode,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ConfigError(
                f"{self.path} cannot use SQLite's WAL mode here (got {mode!r}). "
                "Put the ledger on a local disk."
            )
        # NORMAL would lose the last commits on power loss: answers that were paid for.
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            if self._check_identity():
                for statement in _SCHEMA:
                    self._db.execute(statement)

    def _check_identity(self) -> bool:
        """Whether the file is still empty; raises when it is something else than a ledger."""
        (application_id,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (num_tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application_id == 0 and version == 0 and num_tables == 0:
            return True
        if application_id != _APPLICATION_ID:
            raise IntegrityError(
                f"{self.path} is an SQLite file but not a stillhouse ledger. Give another path."
            )
        if version != _SCHEMA_VERSION:
            raise IntegrityError(
                f"{self.path} is a ledger of version {version}; this stillhouse reads "
                f"{_SCHEMA_VERSION}. Use the version that wrote it, or give another path."
            )
        return False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _mapped_errors(self.path):
            # IMMEDIATE: a read lock that is upgraded later fails at once beside another writer.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _open_call_number(self, request_id: str) -> int:
        mine = self._my_open_calls.get(request_id)
        if mine is not None:
            return mine
        (number,) = self._db.execute(
            "SELECT max(number) FROM calls WHERE request_id = ? AND answered_utc IS NULL",
            (request_id,),
        ).fetchone()
        if number is None:
            raise IntegrityError(
                f"{self.path}: an answer to request {request_id[:16]} came in, but no open call of "
                "it was recorded. Record requests as sent before sending them."
            )
        return int(number)

    def _select_answers(self, request_ids: Sequence[str], column: str) -> dict[str, bytes]:
        marks = ",".join("?" * len(request_ids))
        found: dict[str, bytes] = {}
        with _mapped_errors(self.path):
            rows = self._db.execute(
                f"SELECT request_id, {column} FROM calls WHERE request_id IN ({marks}) "
                "AND finish_reason <> 'error' ORDER BY number",
                request_ids,
            )
            for request_id, value in rows:
                found.setdefault(request_id, value)  # the first answer stays the answer
        return found

    def _unpack_completion(self, request_id: str, blob: bytes) -> Completion:
        try:
            data = blob if blob.startswith(b"{") else zlib.decompress(blob)
            return Completion.model_validate_json(data)
        except (ValueError, zlib.error) as err:
            raise IntegrityError(
                f"{self.path}: the answer to request {request_id[:16]} is damaged. "
                "Restore the ledger from a backup, or give another path to ask again."
            ) from err


@contextmanager
def _mapped_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as err:
        raise _as_stillhouse_error(path, err) from err


def _as_stillhouse_error(path: Path, err: sqlite3.Error) -> StillhouseError:
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code == sqlite3.SQLITE_NOTADB:
        return IntegrityError(f"{path} is not an SQLite file. Give another path for the ledger.")
    if code == sqlite3.SQLITE_CORRUPT:
        return IntegrityError(
            f"{path} is damaged ({err}). Restore it from a backup, or give another path."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ConfigError(f"{path} is locked by another process. Wait for it, or stop it.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return ConfigError(
            f"{path} cannot be opened for writing ({err}). "
            "Check that file and folder are writable, or give another path for the ledger."
        )
    return ConfigError(f"{path} cannot be used ({err}). Check the disk, then run again.")


def _pack(record: Record) -> bytes:
    """Canonical JSON, compressed when large; JSON starts with '{' and zlib data never does."""
    data = canonical_json(record)
    return data if len(data) < _COMPRESS_FROM_BYTES else zlib.compress(data, 1)


def _chunks(request_ids: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for request_id in request_ids:
        chunk.append(request_id)
        if len(chunk) == _IDS_PER_QUERY:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
