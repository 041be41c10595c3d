"""A pass-through proxy that records an application's calls; one module per concern.

`_server` takes requests, `_upstream` says where they go, `_relay` moves the bytes. `_recorder`
writes calls (`_call`) into the ledger from a thread of its own, which is all that reads bodies.
"""

from stillhouse.collect._proxy._config import ProxyConfig, ProxyCounts
from stillhouse.collect._proxy._serving import serve_proxy

__all__ = ["serve_proxy", "ProxyConfig", "ProxyCounts"]
