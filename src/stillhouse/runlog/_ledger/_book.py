"""The ledger as its callers see it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from stillhouse.errors import ConfigError, IntegrityError, StillhouseError
from stillhouse.records import Request
from stillhouse.runlog._answer import Answer
from stillhouse.runlog._ledger import _answers, _batches, _claims, _merge, _raw, _runs, _sums
from stillhouse.runlog._ledger._claims import Claimant
from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._money import commitments, limit_of
from stillhouse.runlog._ledger._packing import key_of, load_requests, pack
from stillhouse.runlog._ledger._records import (
    Batch,
    BatchState,
    Claim,
    LedgerTotals,
    OpenCall,
    ReadPosition,
    Recorded,
)
from stillhouse.runlog._ledger._workers import beat, register, roll_call, sign_off

_IDS_AT_ONCE = 512
# The index of request ids is hit at random: 16 MB hold what a growing ledger touches again.
_CACHE_KIB = 16_384
_BODIES_AT_ONCE = 128  # answers with logprobs are half a megabyte each


class Ledger:
    """An open ledger file, made when absent; several processes may use one.

    Each call that writes is one transaction that is on disk (`synchronous=FULL`) when it returns:
    hand over groups, not single rows. To be used from the thread that opened it.

    Args:
        path: The file.
        busy_timeout_s: How long a call waits for another process that writes.
        cache_kib: Of the file that is held in memory, at most.

    Attributes:
        path: The file.

    Raises:
        ConfigError: the file cannot be opened for writing, is locked by another process, or the
            disk is full.
        IntegrityError: it is not a ledger, is damaged, or of another version.
        RecordError: a row holds what UTF-8 or 64 bits cannot.
    """

    def __init__(
        self, path: Path, *, busy_timeout_s: float = 30.0, cache_kib: int = _CACHE_KIB
    ) -> None:
        self.path = path
        self._db = Database(path, busy_timeout_s=busy_timeout_s, cache_kib=cache_kib)
        self._worker: int | None = None

    def claim(
        self,
        requests: Sequence[Request],
        *,
        reserved_usd: Sequence[float] | None = None,
        cap_usd: float | None = None,
        run_key: str | None = None,
    ) -> Claim:
        """Write that those of `requests` which are claimed are about to be sent.

        Left out are those that have an answer, and those that a living process or an unsettled
        batch is asking: `answered_ids` tells the two apart. A request given twice is claimed once.

        Under a limit, calls are opened in order and only as long as their reserves fit beside all
        that was spent in this ledger and all that is reserved in it, by whatever process: as long
        as no call costs more than its reserve, no more than the limit is paid. What did not fit,
        and everything after it, is the claim's `shortage`.

        Args:
            requests: What to ask, in order.
            reserved_usd: The most that each can cost, held until its cost is known.
            cap_usd: The limit; None sets none. It needs `reserved_usd`.
            run_key: The run that asks, for `unanswered`.

        Raises:
            ConfigError: the limit is no amount of money, or answers have no known price.
        """
        with self._writing() as worker:
            claimant = self._claimant(worker, run_key)
            return _claims.claim(self._db, claimant, requests, reserved_usd, cap_usd)

    def check_budget(self, cap_usd: float) -> None:
        """Find out early whether `claim` takes a limit.

        Raises:
            ConfigError: as there.
        """
        limit_of(cap_usd)
        commitments(self._db, self.path)

    def record_answers(self, answers: Sequence[Answer]) -> None:
        """Write what came back, errors included; call it before counting them as done.

        An answer to a call that was given up as lost takes its place.

        Raises:
            IntegrityError: one answers no claimed call, or an answered one; nothing is written.
        """
        self.exchange(answers, ())

    def exchange(
        self,
        answers: Sequence[Answer],
        requests: Sequence[Request],
        *,
        reserved_usd: Sequence[float] | None = None,
        cap_usd: float | None = None,
        run_key: str | None = None,
        raw_requests: Mapping[str, bytes] | None = None,
    ) -> Claim:
        """`record_answers` and then `claim`, in one transaction: one wait for the disk.

        Args:
            answers: As in `record_answers`.
            requests: As in `claim`, and so the next three.
            reserved_usd: As there.
            cap_usd: As there; what `answers` did not cost is given back first.
            run_key: As there.
            raw_requests: By id, the bodies that an application sent; kept of what is claimed.
        """
        bodies = pack(answer.body for answer in answers)
        with self._writing() as worker:
            _answers.record(self._db, worker, answers, bodies)
            if not requests:
                return Claim([])
            claimant = self._claimant(worker, run_key)
            claim = _claims.claim(self._db, claimant, requests, reserved_usd, cap_usd)
            given = raw_requests or {}
            _raw.keep_raw(self._db, {r.id: given[r.id] for r in claim.requests if r.id in given})
            return claim

    def answered(self, request_ids: Iterable[str]) -> Iterator[Answer]:
        """The first answer to each of `request_ids` that has one, in their order; no errors."""
        for chunk in _chunks(request_ids, _BODIES_AT_ONCE):
            yield from _answers.first_answers(self._db, chunk)

    def answered_ids(self, request_ids: Iterable[str]) -> set[str]:
        """Those of `request_ids` that have an answer; errors do not count."""
        known: set[str] = set()
        for chunk in _chunks(request_ids, _IDS_AT_ONCE):
            known |= _answers.answered_ids(self._db, chunk)
        return known

    def requests(self, request_ids: Iterable[str]) -> Iterator[Request]:
        """Those of `request_ids` that were ever claimed, in their order."""
        for chunk in _chunks(request_ids, _BODIES_AT_ONCE):
            keys = [key_of(request_id) for request_id in chunk]
            rows = self._db.rows_for(
                "SELECT id, segment, offset, length FROM requests WHERE id IN ({marks})", keys
            )
            places = {key: (segment, offset, length) for key, segment, offset, length in rows}
            yield from load_requests(self._db, [places[key] for key in keys if key in places])

    def recorded(self, *, up_to: int) -> Iterator[Recorded]:
        """The first answer to every request, in the order of recording.

        Args:
            up_to: The last call to read, from `extent`: others may be writing.
        """
        return _raw.recorded(self._db, up_to=up_to)

    def extent(self) -> tuple[int, str]:
        """The number of the last call, and a SHA-256 that says what `recorded` gives up to it."""
        return _raw.extent(self._db)

    def open_calls(self) -> list[OpenCall]:
        """The calls without an outcome whose process is gone, oldest first: maybe paid.

        Those of a batch are not among them: the provider goes on with it.
        """
        return _claims.orphans(self._db)[0]

    def settle_orphans(self) -> list[OpenCall]:
        """Give up `open_calls`, so that they can be claimed again, and return them for a list."""
        with self._writing():
            return _claims.settle_orphans(self._db)

    def lost_calls(self) -> list[OpenCall]:
        """Every call that was ever given up and whose answer did not turn up, oldest first."""
        return _claims.lost_calls(self._db)

    def totals(self, teacher: str | None = None) -> LedgerTotals:
        """Sums over every call, or over those of one teacher; cheap at any size."""
        return _sums.totals(self._db, teacher)

    def note_read(self, run_key: str, position: ReadPosition) -> None:
        """Keep that all prompts before `position` were handed to `claim` for this run.

        It may lag behind, and never goes back: a file that has changed is another run.
        """
        with self._writing():
            _runs.note_read(self._db, _runs.run_number(self._db, run_key), position)

    def read_position(self, run_key: str) -> ReadPosition | None:
        """How far the prompts of a run were read, or None where nothing was noted."""
        return _runs.read_position(self._db, run_key)

    def unanswered(self, run_key: str) -> Iterator[str]:
        """Ids of the requests that were given to `claim` for this run and have no answer.

        Failed, lost and open ones, oldest first; it costs what these cost, not what is answered.
        """
        return _runs.unanswered(self._db, run_key)

    def continue_run(
        self, run_key: str, earlier_keys: Sequence[str], *, prefix_sha256: str
    ) -> None:
        """Have a run that has no position yet begin where an earlier one stands.

        Args:
            run_key: The run.
            earlier_keys: Runs whose prompts are the first of its own; the first that has a position
                counts, and stays as it is.
            prefix_sha256: Of the run's positions.
        """
        if not earlier_keys or self.read_position(run_key) is not None:
            return
        with self._writing():
            for earlier_key in earlier_keys:
                _runs.continue_run(self._db, run_key, earlier_key, prefix_sha256)

    def memo(self, key: str) -> str | None:
        """What a stage kept under `key` for its later runs; None where it kept nothing."""
        return _runs.memo(self._db, key)

    def memos(self, prefix: str) -> list[tuple[str, str]]:
        """What was kept under keys that begin with `prefix`: keys and texts, by key."""
        return _runs.memos(self._db, prefix)

    def keep_memo(self, key: str, text: str) -> None:
        """Keep a text for later runs, in place of what was under `key`; a merge leaves it out."""
        with self._writing():
            _runs.keep_memo(self._db, key, text)

    def open_batch(
        self,
        provider: str,
        requests: Sequence[Request],
        *,
        reserved_usd: Sequence[float] | None = None,
        cap_usd: float | None = None,
        run_key: str | None = None,
    ) -> Claim:
        """`claim` requests as one batch, before it is created at the provider.

        Its calls are nobody's orphans: until the batch is settled they are not asked again, and
        any process may record their answers. There is no batch where nothing could be claimed.
        """
        with self._writing() as worker:
            claimant = self._claimant(worker, run_key)
            return _batches.open_batch(
                self._db, claimant, provider, requests, reserved_usd, cap_usd
            )

    def name_batch(self, batch_id: str, remote_id: str) -> None:
        """Keep the provider's name of a batch; it is `running` from now on.

        Raises:
            IntegrityError: it has another name already.
        """
        with self._writing():
            _batches.name_batch(self._db, batch_id, remote_id)

    def set_batch_state(self, batch_id: str, state: BatchState, *, note: str = "") -> None:
        """Say where a batch stands.

        With `settled`, calls of it without an outcome become lost; with `failed` they become
        errors that cost nothing and can be asked again, as the provider ran none of them.
        """
        with self._writing():
            _batches.set_batch_state(self._db, batch_id, state, note)

    def batches(self, state: BatchState | None = None) -> list[Batch]:
        """Every batch, or those in one state, oldest first.

        An `opened` one without `remote_id` was maybe created: look for its id at the provider.
        """
        return _batches.batches(self._db, state)

    def batch_requests(self, batch_id: str) -> Iterator[Request]:
        """The requests of a batch that have no outcome yet, in the order they were claimed."""
        return _batches.batch_requests(self._db, batch_id)

    def merge(self, source: Path) -> None:
        """Add what the ledger at `source` holds, which is not changed but for its orphans.

        Calls that this ledger knows are not added again, so a merge may be repeated; one that is
        broken off has done nothing. What was open in `source` is lost in both: maybe paid.

        Raises:
            ConfigError: `source` is missing, is being written, or has batches not settled.
            IntegrityError: `source` is no ledger, is damaged, or is this one.
        """
        if not source.is_file():
            raise ConfigError(f"{source} does not exist. Give the path of a ledger.")
        if source.resolve() == self.path.resolve():
            raise IntegrityError(f"{source} cannot be merged into itself. Give two ledgers.")
        with Ledger(source) as other:
            _merge.check_at_rest(other._db)
            if other.open_calls():
                other.settle_orphans()
        _merge.merge(self._db, source)

    def has_other_writers(self) -> bool:
        """Whether a process that runs has written here, and not closed the ledger yet."""
        living, _ = roll_call(self._db)
        return bool(living - {self._worker})

    @property
    def database(self) -> Database:
        """The open file, for what rewrites it."""
        return self._db

    def beat(self) -> None:
        """Say that this process is alive; every write does, so only long silences need it."""
        with self._writing():
            pass

    def close(self) -> None:
        """Close the file; may be called twice. Calls still open are nobody's from now on."""
        worker, self._worker = self._worker, None
        if worker is not None:
            # A goodbye that cannot be written is no loss: the process ends, and its pid says so.
            with suppress(StillhouseError), self._db.transaction():
                sign_off(self._db, [worker])
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

    @contextmanager
    def _writing(self) -> Iterator[int]:
        """A transaction of this worker, which gets its row with the first one."""
        if self._worker is None:
            self._worker = register(self._db)
        with self._db.transaction():
            beat(self._db, self._worker)
            yield self._worker

    def _claimant(self, worker: int, run_key: str | None) -> Claimant:
        return Claimant(worker, None if run_key is None else _runs.run_number(self._db, run_key))


def _chunks(request_ids: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(request_ids)
    while chunk := list(islice(left, size)):
        yield chunk
