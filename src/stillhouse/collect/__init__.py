"""Prompts to completions: every request in the ledger before it is sent, every answer after.

The proxy's server is loaded when it is first asked for: few commands need a web server.
"""

import importlib
from typing import TYPE_CHECKING, Any

from stillhouse.collect._capture import capture
from stillhouse.collect._capture_config import CaptureConfig
from stillhouse.collect._collect import collect
from stillhouse.collect._config import CollectConfig
from stillhouse.collect._estimate import Estimate, Range, TeacherEstimate
from stillhouse.collect._forecast import forecast
from stillhouse.collect._imports import ImportConfig, import_completions
from stillhouse.collect._prompts import check_prompts, read_prompts
from stillhouse.collect._proxy import ProxyConfig, ProxyCounts, serve_proxy
from stillhouse.scrubbing import Scrubbed, ScrubbedRow, scrub, scrub_row

if TYPE_CHECKING:
    from stillhouse.collect._proxy._server import Proxy

__all__ = [
    "collect",
    "CollectConfig",
    "forecast",
    "Estimate",
    "TeacherEstimate",
    "Range",
    "capture",
    "CaptureConfig",
    "import_completions",
    "ImportConfig",
    "serve_proxy",
    "Proxy",
    "ProxyConfig",
    "ProxyCounts",
    "scrub",
    "Scrubbed",
    "scrub_row",
    "ScrubbedRow",
    "read_prompts",
    "check_prompts",
]

_LOADED_LATER = {"Proxy": "_proxy._server"}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LOADED_LATER[name]}"), name)
