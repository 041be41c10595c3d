"""A student that answers when it is sure, its teacher when not, and what is certified of the two.

`CascadeRule` decides, `Gate` tells texts that are unlike the training texts, `CascadeWatch` notices
in service when the certificate ceases to hold. `stillhouse.certify` makes a cascade and
`open_cascade` opens one for a server. Importing it loads no torch; `docs/cascade.md` says what the
guarantee is and is not.
"""

from stillhouse.cascade._gate import Gate, GateConfig, fit_gate, load_gate, save_gate
from stillhouse.cascade._open import (
    ROWS_STEM,
    RULE_NAME,
    Cascade,
    CascadeRow,
    open_cascade,
    task_novelty,
)
from stillhouse.cascade._rule import (
    CascadeRule,
    Certificate,
    CoverageEstimate,
    Decision,
    Reason,
    Route,
    answer_confidence,
)
from stillhouse.cascade._text_states import text_states
from stillhouse.cascade._watch import (
    CascadeWatch,
    WatchConfig,
    WatchCounts,
    WatchSnapshot,
    WatchStatus,
)

__all__ = [
    # The rule
    "CascadeRule",
    "Certificate",
    "CoverageEstimate",
    "Decision",
    "Route",
    "Reason",
    "answer_confidence",
    # What is familiar
    "Gate",
    "GateConfig",
    "fit_gate",
    "load_gate",
    "save_gate",
    "text_states",
    # In service
    "CascadeWatch",
    "WatchConfig",
    "WatchCounts",
    "WatchSnapshot",
    "WatchStatus",
    # On disk
    "Cascade",
    "CascadeRow",
    "ROWS_STEM",
    "RULE_NAME",
    "open_cascade",
    "task_novelty",
]
