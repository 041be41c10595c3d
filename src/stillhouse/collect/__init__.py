"""Prompts to completions: every request in the ledger before it is sent, every answer after."""

from stillhouse.collect._capture import capture
from stillhouse.collect._capture_config import CaptureConfig
from stillhouse.collect._collect import collect
from stillhouse.collect._config import CollectConfig
from stillhouse.collect._estimate import Estimate, Range, TeacherEstimate
from stillhouse.collect._forecast import forecast
from stillhouse.collect._imports import ImportConfig, import_completions
from stillhouse.collect._prompts import check_prompts, read_prompts
from stillhouse.collect._proxy import ProxyConfig, ProxyCounts, serve_proxy
from stillhouse.collect._scrub import Scrubbed, ScrubbedRow, scrub, scrub_row

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
    "ProxyConfig",
    "ProxyCounts",
    "scrub",
    "Scrubbed",
    "scrub_row",
    "ScrubbedRow",
    "read_prompts",
    "check_prompts",
]
