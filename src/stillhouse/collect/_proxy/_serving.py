"""The proxy as a command: listen until told to stop."""

import asyncio
import signal
import sys
from collections.abc import Callable
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
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return asyncio.run(_serve(config, on_ready))


async def _serve(config: ProxyConfig, on_ready: "Callable[[Proxy], None]") -> ProxyCounts:
    from stillhouse.collect._proxy._server import Proxy  # here: few commands need a web server

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    async with Proxy(config) as proxy:
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop.set)
        on_ready(proxy)
        await stop.wait()
        for number in _SIGNALS:
            loop.add_signal_handler(number, proxy.hurry)
    return proxy.counts
