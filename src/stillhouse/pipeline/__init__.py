"""Whole runs: every stage of a config in order, the demo, and what surrounds them.

This room holds no logic of a stage. Importing it loads no torch; what measures logs and compares
students is loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from stillhouse.pipeline._config import (
    RunConfig,
    config_schema,
    read_config,
    schema_text,
)
from stillhouse.pipeline._demo import DEMO_DIR, demo_config
from stillhouse.pipeline._doctor import EXTRAS, Check, examine
from stillhouse.pipeline._forget import Forgotten, check_found, forget, stages_with
from stillhouse.pipeline._init import init
from stillhouse.pipeline._run import RunOutcome, run
from stillhouse.pipeline._steps import StageEnd, StageListener, ignore_stages
from stillhouse.pipeline._terms import terms_of_config

if TYPE_CHECKING:
    from stillhouse.pipeline._asking import ledger_asking
    from stillhouse.pipeline._audit_pack import AuditPack, audit_pack
    from stillhouse.pipeline._bakeoff import BakeoffOutcome, bakeoff
    from stillhouse.pipeline._bakeoff_config import BakeoffConfig
    from stillhouse.pipeline._economics import economics_of
    from stillhouse.pipeline._range._config import RangeConfig
    from stillhouse.pipeline._range._default import (
        RANGE_DIR,
        default_range_text,
        range_config,
    )
    from stillhouse.pipeline._range._results import RangeResults, RangeRow, read_range
    from stillhouse.pipeline._range._run import attack_range
    from stillhouse.pipeline._round import next_round
    from stillhouse.pipeline._round_config import RoundConfig, read_round
    from stillhouse.pipeline._scan import scan
    from stillhouse.pipeline._scan_config import ScanConfig
    from stillhouse.pipeline._scan_results import PartResult, ScanResults, read_scan
    from stillhouse.pipeline._yield import yield_curve
    from stillhouse.pipeline._yield_config import YieldConfig
    from stillhouse.pipeline._yield_results import YieldPoint, YieldResults, read_yield

__all__ = [
    "RunConfig",
    "read_config",
    "config_schema",
    "schema_text",
    "run",
    "terms_of_config",
    "RunOutcome",
    "StageEnd",
    "StageListener",
    "ignore_stages",
    "forget",
    "Forgotten",
    "check_found",
    "stages_with",
    "ledger_asking",
    "bakeoff",
    "BakeoffConfig",
    "BakeoffOutcome",
    "next_round",
    "RoundConfig",
    "read_round",
    "scan",
    "ScanConfig",
    "ScanResults",
    "PartResult",
    "read_scan",
    "economics_of",
    "audit_pack",
    "AuditPack",
    "yield_curve",
    "YieldConfig",
    "YieldResults",
    "YieldPoint",
    "read_yield",
    "attack_range",
    "RangeConfig",
    "range_config",
    "default_range_text",
    "RANGE_DIR",
    "RangeResults",
    "RangeRow",
    "read_range",
    "demo_config",
    "DEMO_DIR",
    "examine",
    "Check",
    "EXTRAS",
    "init",
]

_LOADED_LATER = {
    "ledger_asking": "_asking",
    "bakeoff": "_bakeoff",
    "BakeoffOutcome": "_bakeoff",
    "BakeoffConfig": "_bakeoff_config",
    "economics_of": "_economics",
    "audit_pack": "_audit_pack",
    "AuditPack": "_audit_pack",
    "attack_range": "_range._run",
    "RangeConfig": "_range._config",
    "range_config": "_range._default",
    "default_range_text": "_range._default",
    "RANGE_DIR": "_range._default",
    "RangeResults": "_range._results",
    "RangeRow": "_range._results",
    "read_range": "_range._results",
    "next_round": "_round",
    "RoundConfig": "_round_config",
    "read_round": "_round_config",
    "scan": "_scan",
    "ScanConfig": "_scan_config",
    "ScanResults": "_scan_results",
    "PartResult": "_scan_results",
    "read_scan": "_scan_results",
    "yield_curve": "_yield",
    "YieldConfig": "_yield_config",
    "YieldResults": "_yield_results",
    "YieldPoint": "_yield_results",
    "read_yield": "_yield_results",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LOADED_LATER[name]}"), name)
