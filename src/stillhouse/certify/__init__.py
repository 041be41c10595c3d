"""From a student to a rule that says when it answers in place of its teacher, and a certificate.

`certify` is the stage. `certified_rule` with a `Calibration` is what it rests on, for who has
confidences and losses of his own.
"""

from stillhouse.certify._asking import GradedRow
from stillhouse.certify._certify import certify
from stillhouse.certify._config import CertifyConfig
from stillhouse.certify._results import ASSUMPTIONS, sentence
from stillhouse.certify._search import Calibration, certified_rule, fixed_grid, quantile_grid

__all__ = [
    "certify",
    "CertifyConfig",
    "GradedRow",
    "certified_rule",
    "Calibration",
    "fixed_grid",
    "quantile_grid",
    "sentence",
    "ASSUMPTIONS",
]
