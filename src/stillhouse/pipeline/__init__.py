"""Whole runs: every stage of a config in order, the demo, and what surrounds them.

This room holds no logic of a stage. Importing it loads no torch.
"""

from stillhouse.pipeline._config import (
    RunConfig,
    config_schema,
    read_config,
    schema_text,
)
from stillhouse.pipeline._demo import DEMO_DIR, demo_config
from stillhouse.pipeline._doctor import EXTRAS, Check, examine
from stillhouse.pipeline._init import init
from stillhouse.pipeline._run import RunOutcome, StageEnd, StageListener, ignore_stages, run

__all__ = [
    "RunConfig",
    "read_config",
    "config_schema",
    "schema_text",
    "run",
    "RunOutcome",
    "StageEnd",
    "StageListener",
    "ignore_stages",
    "demo_config",
    "DEMO_DIR",
    "examine",
    "Check",
    "EXTRAS",
    "init",
]
