"""The proxy as a command: listen until told to stop."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stillhouse.collect._proxy._config import ProxyConfig, ProxyCounts

if TYPE_CHECKING:
    from stillhouse.collect._proxy._server import Proxy

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# The recorder's thread gives way to calls under way this often; Python's default is 5 ms.
_SWITCH_INTERVAL_S = 0.0005


def serve_proxy(config: ProxyConfig, *, on_ready: "Callable[[Proxy], None]") -> ProxyCounts:
    """Pass requests through until SIGINT or SIGTERM; then end what is under way, and record it.

    A second signal ends it at once. To be called from the main thread.

    Args:
        config: How.
        on_ready: Told once it listens.

    Raises:
        ConfigError: the address, the provider, its key or a price is wrong.
        StillhouseError: the ledger cannot be used.
    """
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        return asyncio.run(_serve(config, on_ready))
    finally:
        sys.setswitchinterval(before_s)


async def _serve(config: ProxyConfig, on_ready: "Callable[[Proxy], None]") -> ProxyCounts:
    from stillhouse.collect._proxy._server import Proxy  # here: few commands need a web server

    stop = asyncio.Event()
    async with Proxy(config) as proxy:

        def on_signal() -> None:
            if stop.is_set():
                proxy.hurry()
            stop.set()

        with _signals_to(on_signal):
            on_ready(proxy)
            await stop.wait()
            await proxy.close()
    return proxy.counts


@contextmanager
def _signals_to(listener: Callable[[], None]) -> Iterator[None]:
    """Have `listener` called in the running loop for each signal, instead of an exception."""
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(listener)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
