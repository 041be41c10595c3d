"""The proxy as a command: listen until told to stop."""

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from stillhouse.collect._proxy._config import ProxyConfig, ProxyCounts

if TYPE_CHECKING:
    from stillhouse.collect._proxy._server import Proxy

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
    # Here: few commands need a web server.
    from stillhouse.collect._proxy._server import Proxy
    from stillhouse.listening import until_signalled

    async with Proxy(config) as proxy:
        await until_signalled(
            on_ready=lambda: on_ready(proxy), on_second=proxy.hurry, close=proxy.close
        )
    return proxy.counts
