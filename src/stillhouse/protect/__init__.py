"""The owner's evidence on a suspect: marked text in its training, and whom it was distilled from.

`find_radioactivity` tests a suspect for what a watermark leaves in those that learn from it;
`radioactivity` does so from files and writes evidence. `attribution` names the teacher that a model
was distilled from, without a watermark. No torch is loaded until a model is read.
"""

from stillhouse.protect._attribution import (
    Agreements,
    Attribution,
    AttributionConfig,
    TeacherFinding,
    attribute,
)
from stillhouse.protect._attribution_stage import Lineup, attribution
from stillhouse.protect._evidence import Evidence
from stillhouse.protect._observed import Inputs
from stillhouse.protect._power import contexts_needed, detectable_share, expected_log10_p
from stillhouse.protect._radioactivity import Found, find_radioactivity
from stillhouse.protect._results import (
    CustomerTest,
    RadioactivityConfig,
    RadioactivityResults,
    TextCounts,
)
from stillhouse.protect._stage import radioactivity
from stillhouse.protect._test import DecoyCheck, KeyTest

__all__ = [
    "radioactivity",
    "find_radioactivity",
    "contexts_needed",
    "detectable_share",
    "expected_log10_p",
    "attribution",
    "attribute",
    "Lineup",
    "Agreements",
    "Attribution",
    "AttributionConfig",
    "TeacherFinding",
    "Evidence",
    "Found",
    "Inputs",
    "RadioactivityConfig",
    "RadioactivityResults",
    "KeyTest",
    "DecoyCheck",
    "CustomerTest",
    "TextCounts",
]
