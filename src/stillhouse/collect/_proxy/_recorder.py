"""What goes into the ledger, written by a thread of its own: no call ever waits for it."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from stillhouse.collect._imports._exchange import BadRowError
from stillhouse.collect._proxy._call import Call, CostOf, answer_of, asked_by
from stillhouse.collect._proxy._config import ProxyCounts
from stillhouse.errors import IntegrityError, RecordError, StillhouseError
from stillhouse.records import Request
from stillhouse.runlog import Answer, Ledger, Numbering, OpenCall

logger = logging.getLogger(__name__)

MOST_WAITING_BYTES = 256 << 20
"""Of bodies that wait to be written; calls that begin above it are not recorded."""

_GROUP_S = 0.02  # what comes within it is one transaction, and so one wait for the disk
_RETRY_S = 0.5
_END: None = None


@dataclass(slots=True, eq=False)
class _Entry:
    """A call on its way into the ledger.

    Attributes:
        request: What it asks, once that was read.
        raw_request: Its body, as it is kept.
        is_claimed: Whether the ledger knows that it was sent.
        has_ended: Whether its answer, or error, is there.
        answer: That, once it was read.
        is_done: Whether nothing of it is left to write.
    """

    call: Call
    model: str = ""
    request: Request | None = None
    raw_request: bytes = b""
    is_claimed: bool = False
    has_ended: bool = False
    answer: Answer | None = None
    is_done: bool = False


class Recorder:
    """Records calls: each is begun when it is sent, and ended when it is over.

    `begin` and `end` are called by the server's thread, and return at once.

    Args:
        path: The ledger.
        counts: What is counted here as well.
        cost_of: The price.
    """

    def __init__(self, path: Path, counts: ProxyCounts, cost_of: CostOf) -> None:
        self._path = path
        self._counts = counts
        self._cost_of = cost_of
        self._inbox: queue.SimpleQueue[tuple[Call, bool] | None] = queue.SimpleQueue()
        self._entries: dict[int, _Entry] = {}
        self._failure = ""
        self._is_closing = False
        self._bytes_in = 0  # of the server's thread
        self._bytes_out = 0  # of ours: no lock is needed
        self._opened: Future[list[OpenCall]] = Future()
        self._thread = threading.Thread(target=self._run, name="stillhouse-recorder", daemon=True)

    def open(self) -> list[OpenCall]:
        """Open the ledger; the calls that an earlier process left without an outcome.

        Raises:
            StillhouseError: it cannot be used.
        """
        self._thread.start()
        return self._opened.result()

    @property
    def failure(self) -> str:
        """Why nothing can be written at this moment; empty while all is well."""
        return self._failure

    def begin(self, call: Call) -> bool:
        """Take a call that is about to be sent; False where too many wait already."""
        if self._bytes_in - self._bytes_out > MOST_WAITING_BYTES:
            self._counts.num_unrecorded += 1
            return False
        self._bytes_in += len(call.raw_request)
        self._inbox.put((call, False))
        return True

    def end(self, call: Call) -> None:
        """Take what came of a call that was begun."""
        self._bytes_in += call.num_held
        self._inbox.put((call, True))

    def close(self) -> None:
        """Write what is left, and close the ledger."""
        if self._thread.is_alive():
            self._inbox.put(_END)
            self._thread.join()

    def _run(self) -> None:
        try:
            ledger = Ledger(self._path)
        except BaseException as err:
            self._opened.set_exception(err)
            return
        with ledger:
            try:
                orphans = ledger.settle_orphans()
            except BaseException as err:
                self._opened.set_exception(err)
                return
            self._opened.set_result(orphans)
            self._write_all(_Writer(ledger, self._counts, self._cost_of))

    def _write_all(self, writer: "_Writer") -> None:
        while self._has_work() or not self._is_closing:
            self._gather()
            self._write(writer)
            if self._is_closing and self._failure:
                num_left = sum(entry.has_ended for entry in self._entries.values())
                self._counts.num_unrecorded += num_left
                logger.warning("%d calls could not be recorded: %s", num_left, self._failure)
                return

    def _has_work(self) -> bool:
        return any(not each.is_claimed or each.has_ended for each in self._entries.values())

    def _gather(self) -> None:
        """Take what has come, waiting for the first of it and then for others to join."""
        if not (self._has_work() or self._is_closing):
            self._sort_in(self._inbox.get())
        if not self._is_closing:
            time.sleep(_RETRY_S if self._failure else _GROUP_S)
        while not self._inbox.empty():
            self._sort_in(self._inbox.get())

    def _sort_in(self, item: tuple[Call, bool] | None) -> None:
        if item is None:
            self._is_closing = True
            return
        call, has_ended = item
        if not has_ended:
            self._entries[id(call)] = _Entry(call)
        elif (entry := self._entries.get(id(call))) is not None:
            entry.has_ended = True
        else:
            self._bytes_out += call.num_held  # it was dropped before it had ended

    def _write(self, writer: "_Writer") -> None:
        entries = list(self._entries.values())
        try:
            writer.write(entries)
        except StillhouseError as err:
            if not self._failure:
                logger.warning("calls are not recorded at the moment: %s", err)
            self._failure = str(err)
        except Exception:
            # The applications' calls go on; what is at hand is counted and left out.
            logger.exception("%d calls cannot be recorded: a bug in stillhouse", len(entries))
            self._counts.num_unrecorded += sum(not entry.is_done for entry in entries)
            for entry in entries:
                entry.is_done = True
        else:
            if self._failure:
                logger.warning("calls are recorded again")
            self._failure = ""
        for entry in entries:
            if entry.is_done:
                self._drop(entry)

    def _drop(self, entry: _Entry) -> None:
        del self._entries[id(entry.call)]
        self._bytes_out += len(entry.call.raw_request)
        if entry.has_ended:
            self._bytes_out += entry.call.num_held


class _Writer:
    """Puts entries into the ledger, as many as there are in one transaction."""

    def __init__(self, ledger: Ledger, counts: ProxyCounts, cost_of: CostOf) -> None:
        self._ledger = ledger
        self._counts = counts
        self._cost_of = cost_of
        self._numbering = Numbering(ledger)

    def write(self, entries: Sequence[_Entry]) -> None:
        """Write what is new of `entries`; those that need no more are done.

        Raises:
            StillhouseError: nothing can be written now.
        """
        for entry in entries:
            if entry.request is None:
                self._read(entry, self._take_request)
            elif entry.is_claimed and entry.has_ended and entry.answer is None:
                self._read(entry, self._take_answer)
        begun = [each for each in entries if each.request and not each.is_claimed]
        ended = [each for each in entries if each.answer and not each.is_done]
        try:
            self._exchange(ended, begun)
        except (RecordError, IntegrityError):
            # One of them cannot be kept: find it, so that the others are.
            self._one_by_one(ended, begun)

    def _exchange(self, ended: Sequence[_Entry], begun: Sequence[_Entry]) -> None:
        by_id = {each.request.id: each for each in begun if each.request}
        answers = [each.answer for each in ended if each.answer]
        if not (answers or by_id):
            return
        claimed = self._ledger.exchange(
            answers,
            [each.request for each in begun if each.request],
            raw_requests={key: each.raw_request for key, each in by_id.items()},
        )
        for request in claimed.requests:
            by_id.pop(request.id).is_claimed = True
        for entry in by_id.values():
            self._number_again(entry)
        for entry in ended:
            entry.is_done = True
            self._count(entry)

    def _one_by_one(self, ended: Sequence[_Entry], begun: Sequence[_Entry]) -> None:
        refused: list[tuple[_Entry, StillhouseError]] = []
        for entry in (*ended, *begun):
            try:
                self._exchange(*(([entry], []) if entry.is_claimed else ([], [entry])))
            except (RecordError, IntegrityError) as err:
                refused.append((entry, err))
        if len(refused) == len(ended) + len(begun) and isinstance(refused[0][1], IntegrityError):
            raise refused[0][1]  # it is the ledger that is damaged
        for entry, problem in refused:
            self._give_up(entry, problem)

    def _read(self, entry: _Entry, take: Callable[[_Entry], None]) -> None:
        """Read without letting one call's surprise end the recording of all others."""
        try:
            take(entry)
        except BadRowError as err:
            entry.is_done = True
            self._counts.num_unreadable += 1
            logger.info("a call is not recorded: %s", err)
        except RecordError as err:
            self._give_up(entry, err)
        except StillhouseError:
            raise
        except Exception as err:
            logger.exception("a call cannot be read; this is a bug in stillhouse")
            self._give_up(entry, err)

    def _take_request(self, entry: _Entry) -> None:
        asked, entry.raw_request = asked_by(entry.call)
        entry.model = asked.model
        entry.request = self._numbering.take(
            lambda index: asked.request(entry.call.provider, sample_index=index)
        )

    def _take_answer(self, entry: _Entry) -> None:
        assert entry.request is not None
        entry.answer = answer_of(entry.call, entry.request, entry.model, self._cost_of)

    def _number_again(self, entry: _Entry) -> None:
        """Another process has this sample: the next look gives the one after it."""
        assert entry.request is not None
        self._numbering.give_back(entry.request, is_answered=True)
        entry.request = None

    def _count(self, entry: _Entry) -> None:
        answer, request = entry.answer, entry.request
        assert answer is not None
        assert request is not None
        self._numbering.give_back(request, is_answered=answer.error is None)
        counts, usage = self._counts, answer.usage
        if answer.error is None:
            counts.num_answers += 1
            counts.num_unpriced += usage.cost_usd is None
        else:
            kind = answer.error.type
            counts.errors[kind] = counts.errors.get(kind, 0) + 1
        counts.prompt_tokens += usage.prompt_tokens
        counts.completion_tokens += usage.completion_tokens
        counts.cost_usd += usage.cost_usd or 0.0

    def _give_up(self, entry: _Entry, err: Exception) -> None:
        entry.is_done = True
        self._counts.num_unrecorded += 1
        logger.warning("a call is not recorded: %s", err)
        if entry.request is not None:
            self._numbering.give_back(entry.request, is_answered=False)
