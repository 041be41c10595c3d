"""Single requests, computed together: those that come during one batch are the next."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from time import monotonic
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")

_MAX_BATCH = 64


class Batches(Generic[T, R]):
    """A function of many items, in a thread of its own; use it within one event loop.

    Items whose callers went away before their batch began are left out of it.

    Args:
        compute: One result for each item, in order.
        name: Of the thread.
    """

    def __init__(self, compute: Callable[[list[T]], list[R]], *, name: str) -> None:
        self._compute = compute
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[tuple[T, asyncio.Future[tuple[R, float]]]] = []
        self._batching: asyncio.Task[None] | None = None
        self._num_computing = 0

    @property
    def num_running(self) -> int:
        """Items that wait for their batch or are in it."""
        return len(self._waiting) + self._num_computing

    async def result(self, item: T) -> tuple[R, float]:
        """What the function gives for one item, and when its batch was begun, by `monotonic`.

        Raises:
            Exception: what the function raised for its batch.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[R, float]] = loop.create_future()
        self._waiting.append((item, future))
        if self._batching is None:
            # No request's own: what is noted of one is nothing of the others.
            self._batching = loop.create_task(self._work(), context=Context())
        return await future

    async def run(self, function: Callable[..., A], *arguments: Any) -> A:
        """What a function gives that is called in the same thread, between two batches."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, function, *arguments)

    async def close(self) -> None:
        """End the thread; may be called twice."""
        await asyncio.to_thread(self._worker.shutdown)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                wanted = [(item, future) for item, future in self._waiting if not future.done()]
                batch, self._waiting = wanted[:_MAX_BATCH], wanted[_MAX_BATCH:]
                if not batch:
                    return
                items, began_s = [item for item, _ in batch], monotonic()
                self._num_computing = len(items)
                try:
                    results = await loop.run_in_executor(self._worker, self._compute, items)
                except Exception as err:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(err)
                    continue
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result((result, began_s))
        finally:
            self._num_computing = 0
            self._batching = None
