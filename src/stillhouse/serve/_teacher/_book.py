"""The ledger of a served teacher, in a thread of its own.

A request waits until its intent is on disk, with all that came in the meantime in one transaction:
a call that was cut by a crash is known, and a budget holds. Its answer is written behind the
client's back.
"""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from stillhouse.errors import ConfigError, IntegrityError, RecordError, StillhouseError
from stillhouse.records import Request
from stillhouse.runlog import Answer, Ledger, LedgerTotals, Numbering, Sample
from stillhouse.serve._teacher._outcomes import unsent

logger = logging.getLogger(__name__)

_MOST_LATE = 10_000  # answers that wait for a ledger that cannot be written
_RETRY_S = 0.5
# Of the ledger: a server writes a few rows a second, and its memory should not grow with them.
_CACHE_KIB = 1_024


class BudgetSpentError(Exception):
    """The budget has no room for a request.

    Attributes:
        may_clear: Whether calls under way may leave room when they end.
    """

    def __init__(self, *, may_clear: bool) -> None:
        super().__init__("the budget has no room")
        self.may_clear = may_clear


@dataclass(frozen=True, slots=True)
class Claimed:
    """A request that may be sent.

    Attributes:
        request: With the number that tells it from its equals.
        answer: To an equal one, where that may be used again; nothing is to be sent then.
        is_recorded: Whether the ledger knows of it; it does not while it cannot be written.
    """

    request: Request
    answer: Answer | None = None
    is_recorded: bool = True


@dataclass(slots=True, eq=False)
class _Order:
    """A request on its way into the ledger."""

    sample: Sample
    may_reuse: bool
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Claimed]"
    request: Request | None = None


@dataclass(slots=True)
class BookCounts:
    """What the ledger does not say.

    Attributes:
        num_unrecorded: Calls that it could not take.
        num_reused: Requests that an earlier answer served.
    """

    num_unrecorded: int = 0
    num_reused: int = 0


@dataclass(slots=True)
class _Pending:
    orders: list[_Order] = field(default_factory=list)
    answers: deque[tuple[Answer, Request]] = field(default_factory=deque)


class Book:
    """Records the calls of one server; `open` it before use.

    Args:
        path: The ledger; made when absent.
        worst_cost_usd: The most that a call can cost, None where that is unknown.
        budget_usd: The most that all calls in the ledger may cost; None sets no limit.
    """

    def __init__(
        self,
        path: Path,
        *,
        worst_cost_usd: Callable[[Request], float | None],
        budget_usd: float | None = None,
    ) -> None:
        self.path = path
        self.counts = BookCounts()
        self.totals: LedgerTotals | None = None
        self._worst_cost_usd = worst_cost_usd
        self._budget_usd = budget_usd
        self._inbox: queue.SimpleQueue[_Order | tuple[Answer, Request] | None]
        self._inbox = queue.SimpleQueue()
        self._opened: Future[None] = Future()
        self._failure = ""
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def open(self) -> None:
        """Open the ledger, and give up the calls that an earlier server left without an outcome.

        Raises:
            StillhouseError: it cannot be used, or the budget not be counted.
        """
        self._thread.start()
        self._opened.result()

    async def claim(self, sample: Sample, *, may_reuse: bool = False) -> Claimed:
        """Write that a request is about to be sent.

        While the ledger cannot be written, requests are sent without, and counted; under a budget
        none is.

        Raises:
            BudgetSpentError: the budget has no room for it.
            StillhouseError: there is a budget, and the ledger cannot be written.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Claimed] = loop.create_future()
        order = _Order(sample, may_reuse, loop, future)
        self._inbox.put(order)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give_up(future.result())
            raise

    def record(self, claimed: Claimed, answer: Answer) -> None:
        """Have what came back written, errors included; nobody waits for it."""
        if claimed.answer is None and claimed.is_recorded:
            self._inbox.put((answer, claimed.request))

    async def close(self) -> None:
        """Write what is left, and close the ledger; may be called twice."""
        if self._thread.is_alive():
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)

    def _give_up(self, claimed: Claimed) -> None:
        self.record(claimed, unsent(claimed.request))

    # What follows runs in the thread of the ledger.

    def _run(self) -> None:
        try:
            ledger = Ledger(self.path, cache_kib=_CACHE_KIB)
        except BaseException as err:
            self._opened.set_exception(err)
            return
        with ledger:
            try:
                if self._budget_usd is not None:
                    ledger.check_budget(self._budget_usd)
                orphans = ledger.settle_orphans()
                self.totals = ledger.totals()
            except BaseException as err:
                self._opened.set_exception(err)
                return
            if orphans:
                logger.warning(
                    "%d calls of an earlier server have no outcome, maybe paid", len(orphans)
                )
            self._opened.set_result(None)
            self._serve(ledger, Numbering(ledger))

    def _serve(self, ledger: Ledger, numbering: Numbering) -> None:
        late: deque[tuple[Answer, Request]] = deque()
        while not self._is_closing:
            pending = self._gather(has_late=bool(late))
            late.extend(pending.answers)
            while len(late) > _MOST_LATE:
                self.counts.num_unrecorded += 1
                numbering.give_back(late.popleft()[1], is_answered=False)
            self._write(ledger, numbering, late, pending.orders)
        if late:
            self.counts.num_unrecorded += len(late)
            logger.warning("%d calls could not be recorded: %s", len(late), self._failure)

    def _gather(self, *, has_late: bool) -> _Pending:
        """What has come, waiting for the first of it."""
        pending = _Pending()
        try:
            item = self._inbox.get(timeout=_RETRY_S if has_late else None)
            while True:
                if item is None:
                    self._is_closing = True
                elif isinstance(item, _Order):
                    pending.orders.append(item)
                else:
                    pending.answers.append(item)
                item = self._inbox.get_nowait()
        except queue.Empty:
            return pending

    def _write(
        self,
        ledger: Ledger,
        numbering: Numbering,
        late: deque[tuple[Answer, Request]],
        orders: list[_Order],
    ) -> None:
        """One transaction for all of it; again for what others took in the meantime."""
        waiting = orders
        while waiting or late:
            try:
                waiting = self._exchange(ledger, numbering, late, waiting)
            except (RecordError, IntegrityError):
                # One of them cannot be kept: find it, so that the others are.
                waiting = self._one_by_one(ledger, numbering, late, waiting)
            except StillhouseError as err:
                if not self._failure:
                    logger.warning("calls are not recorded at the moment: %s", err)
                self._failure = str(err)
                self._without_ledger(numbering, waiting, err)
                return
            if self._failure:
                logger.warning("calls are recorded again")
                self._failure = ""
        if not waiting:
            self.totals = ledger.totals()

    def _exchange(
        self,
        ledger: Ledger,
        numbering: Numbering,
        late: deque[tuple[Answer, Request]],
        orders: list[_Order],
    ) -> list[_Order]:
        """Write answers and claim orders; those that somebody else holds are to be given again."""
        fresh = [order for order in orders if not self._reuse(ledger, order)]
        for order in fresh:
            order.request = order.request or numbering.take(order.sample)
        by_id = {order.request.id: order for order in fresh if order.request}
        requests = [order.request for order in by_id.values() if order.request]
        claim = ledger.exchange(
            [answer for answer, _ in late],
            requests,
            reserved_usd=self._reserves(requests),
            cap_usd=self._budget_usd,
        )
        for answer, request in late:
            numbering.give_back(request, is_answered=answer.error is None)
        late.clear()
        for request in claim.requests:
            self._tell(by_id.pop(request.id), Claimed(request))
        if claim.shortage is not None:
            for request in claim.shortage.requests:
                order = by_id.pop(request.id)
                numbering.give_back(request, is_answered=False)
                self._refuse(order, BudgetSpentError(may_clear=bool(claim.shortage.room_from)))
        for order in by_id.values():
            assert order.request is not None
            numbering.give_back(order.request, is_answered=True)  # another process has it
            order.request = None
        return list(by_id.values())

    def _one_by_one(
        self,
        ledger: Ledger,
        numbering: Numbering,
        late: deque[tuple[Answer, Request]],
        orders: list[_Order],
    ) -> list[_Order]:
        left: list[_Order] = []
        alone = [deque([each]) for each in late]
        late.clear()
        for one in alone:
            try:
                self._exchange(ledger, numbering, one, [])
            except (RecordError, IntegrityError) as err:
                self._count_unrecorded(err)
                numbering.give_back(one[0][1], is_answered=False)
        for order in orders:
            try:
                left += self._exchange(ledger, numbering, deque(), [order])
            except (RecordError, IntegrityError) as err:
                self._without_ledger(numbering, [order], err)
        return left

    def _count_unrecorded(self, err: StillhouseError) -> None:
        self.counts.num_unrecorded += 1
        logger.warning("a call is not recorded: %s", err)

    def _reserves(self, requests: list[Request]) -> list[float] | None:
        if self._budget_usd is None:
            return None
        reserves = [self._worst_cost_usd(request) for request in requests]
        known = [usd for usd in reserves if usd is not None]
        if len(known) < len(reserves):
            raise ConfigError(
                "A budget is set, but the price of the teacher is unknown. Give it with --prices, "
                "or serve without a budget."
            )
        return known

    def _reuse(self, ledger: Ledger, order: _Order) -> bool:
        if not order.may_reuse:
            return False
        first = order.sample(0)
        answer = next(iter(ledger.answered([first.id])), None)
        if answer is None:
            return False
        self.counts.num_reused += 1
        self._tell(order, Claimed(first, answer))
        return True

    def _without_ledger(
        self, numbering: Numbering, orders: list[_Order], err: StillhouseError
    ) -> None:
        for order in orders:
            if order.request is not None:
                numbering.give_back(order.request, is_answered=False)
            if self._budget_usd is None:
                self.counts.num_unrecorded += 1
                self._tell(order, Claimed(order.request or order.sample(0), is_recorded=False))
            else:
                self._refuse(order, err)

    def _tell(self, order: _Order, claimed: Claimed) -> None:
        def tell() -> None:
            if order.future.done():  # whoever asked has gone
                self._give_up(claimed)
            else:
                order.future.set_result(claimed)

        self._call(order, tell)

    def _refuse(self, order: _Order, err: Exception) -> None:
        self._call(order, lambda: None if order.future.done() else order.future.set_exception(err))

    def _call(self, order: _Order, function: Callable[[], None]) -> None:
        try:
            order.loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop was closed: nobody waits
            return
