"""Extraction in the traffic: which accounts, or groups of accounts, sweep a model.

`read_table` turns the rows of an access log into columns of numbers under a key, and keeps no
prompt. `Reference.fit` learns from a log that is taken to be benign, `watch_table` ranks every
account and every cluster of accounts among it, controls the false discovery rate and says what to
answer, which `Responses` keep for a server; `Monitor` does the same for single accounts while
requests come. `simulate` makes labelled traffic. Format and methods: `docs/traffic.md`. Importing
it loads no torch.
"""

from stillhouse.traffic._appeal import (
    AppealRecord,
    add_clearing,
    appeal_record,
    read_appeal,
    write_appeals,
)
from stillhouse.traffic._config import AccessLogConfig, ResponsesConfig, TrafficConfig
from stillhouse.traffic._cues import CUES, cues_in
from stillhouse.traffic._features import Featuriser, PromptFeatures
from stillhouse.traffic._key import TrafficKey, open_traffic_key
from stillhouse.traffic._monitor import Flag, Monitor, check_key, look_share
from stillhouse.traffic._ranks import Comparison, Ranks
from stillhouse.traffic._reading import AccessLog, open_access_log
from stillhouse.traffic._reference import Reference, load_reference
from stillhouse.traffic._responses import (
    RESPONSES,
    Clearing,
    Response,
    Responses,
    ResponseStep,
    change_responses,
    read_responses,
)
from stillhouse.traffic._results import (
    AccountResult,
    EvidenceResult,
    FigureResult,
    Step,
    StepResult,
    WatchResults,
)
from stillhouse.traffic._rows import AccessRow, HashedPrompt
from stillhouse.traffic._table import Table, packed, read_features, read_table
from stillhouse.traffic._watch import (
    AccountEvidence,
    Adjusted,
    adjust,
    compare_accounts,
    step_of,
    watch_table,
)
from stillhouse.traffic._windows import Placed

__all__ = [
    # What is kept
    "TrafficKey",
    "open_traffic_key",
    "AccessRow",
    "HashedPrompt",
    "AccessLog",
    "AccessLogConfig",
    "open_access_log",
    "Featuriser",
    "PromptFeatures",
    "packed",
    "CUES",
    "cues_in",
    "Table",
    "read_features",
    "read_table",
    # What is usual
    "Reference",
    "load_reference",
    "Comparison",
    "Ranks",
    "Placed",
    # Watching
    "TrafficConfig",
    "watch_table",
    "compare_accounts",
    "AccountEvidence",
    "adjust",
    "Adjusted",
    "step_of",
    "Monitor",
    "Flag",
    "check_key",
    "look_share",
    # Results
    "WatchResults",
    "AccountResult",
    "EvidenceResult",
    "FigureResult",
    "StepResult",
    "Step",
    "AppealRecord",
    "appeal_record",
    "read_appeal",
    "write_appeals",
    "add_clearing",
    # Answering
    "Response",
    "Responses",
    "ResponseStep",
    "RESPONSES",
    "ResponsesConfig",
    "Clearing",
    "read_responses",
    "change_responses",
]
