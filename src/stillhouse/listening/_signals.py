"""Serve until a signal says otherwise."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def until_signalled(
    *,
    on_ready: Callable[[], None],
    on_second: Callable[[], None],
    close: Callable[[], Awaitable[None]],
    on_hangup: Callable[[], None] | None = None,
) -> None:
    """Wait for SIGINT or SIGTERM, then close.

    To be awaited in the main thread.

    Args:
        on_ready: Called once signals are awaited.
        on_second: Called at every further signal, while `close` is waited for.
        close: Gives what is awaited after the first signal.
        on_hangup: Called at SIGHUP, which is left as it is where this is None.
    """
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            on_second()
        stop.set()

    def on_number(number: int) -> None:
        if number in _SIGNALS:
            on_signal()
        elif on_hangup is not None:
            on_hangup()

    hangup = () if on_hangup is None else (signal.SIGHUP,)
    with _signals_to((*_SIGNALS, *hangup), on_number):
        on_ready()
        await stop.wait()
        await close()


@contextmanager
def _signals_to(
    numbers: tuple[signal.Signals, ...], listener: Callable[[int], None]
) -> Iterator[None]:
    """Have `listener` called in the running loop for each signal, instead of an exception."""
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(listener, number)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
