"""Figures and how sure they are: pure functions on numbers and text.

Where a verdict is asked for, `compare_paired` (graded scores) and `compare_paired_binary` (right or
wrong) give it; the other functions are what reports and guarantees are made of.
"""

from stillhouse.statistics._agreement import cohen_kappa
from stillhouse.statistics._betting import (
    ConfidenceSequence,
    bernstein_interval,
    bernstein_upper_bound,
    betting_interval,
    betting_lower_bound,
    betting_sequence,
    betting_upper_bound,
)
from stillhouse.statistics._bootstrap import (
    clustered_bootstrap,
    paired_bootstrap_difference,
    paired_bootstrap_ratio,
)
from stillhouse.statistics._bradley_terry import (
    BradleyTerry,
    Standing,
    bradley_terry,
    elo_scale,
    expected_score,
)
from stillhouse.statistics._bradley_terry_data import Comparison
from stillhouse.statistics._calibration import (
    CalibrationError,
    ReliabilityBin,
    expected_calibration_error,
    reliability,
)
from stillhouse.statistics._certify import (
    fixed_sequence,
    fixed_sequence_graded,
    rows_to_certify,
    rows_to_certify_graded,
)
from stillhouse.statistics._change import (
    BreachDetector,
    BreachState,
    EDetector,
    expected_breach_delay,
)
from stillhouse.statistics._compare import bounded_mean, compare_paired, compare_paired_binary
from stillhouse.statistics._curve import CallsFor, YieldCurve, fit_yield_curve
from stillhouse.statistics._drift import DriftDetector, DriftState
from stillhouse.statistics._false_discovery import (
    benjamini_hochberg,
    benjamini_yekutieli,
    e_benjamini_hochberg,
    e_value,
)
from stillhouse.statistics._fractions import (
    fraction_interval,
    fraction_lower_bound,
    fraction_upper_bound,
    wilson_interval,
)
from stillhouse.statistics._interval import Interval
from stillhouse.statistics._label_noise import LabelIssues, confident_joint, label_issues
from stillhouse.statistics._multiple import holm
from stillhouse.statistics._paired import (
    PairedCounts,
    binary_equivalence_test,
    binary_non_inferiority_test,
    mcnemar_exact,
    newcombe_interval,
    paired_counts,
    tango_interval,
)
from stillhouse.statistics._paired_means import (
    PairedMeans,
    equivalence_test,
    non_inferiority_test,
    paired_means,
)
from stillhouse.statistics._power import (
    detectable_difference,
    paired_power,
    rows_for_difference,
    rows_for_non_inferiority,
)
from stillhouse.statistics._score_laws import (
    BernoulliLaw,
    BinomialMeanLaw,
    ExponentialLaw,
    ScoreLaw,
)
from stillhouse.statistics._selective import RiskCoverage, auroc, risk_coverage
from stillhouse.statistics._tails import log_binomial_tail, log_gamma_tail
from stillhouse.statistics._text import is_looping
from stillhouse.statistics._verdict import PairedComparison, Verdict, verdict_of
from stillhouse.statistics._weighted_sum import (
    WeightedSum,
    WeightedTail,
    log_exponential_sum_tail,
)

__all__ = [
    "Interval",
    # Verdicts
    "PairedComparison",
    "Verdict",
    "compare_paired",
    "compare_paired_binary",
    "verdict_of",
    # Means and ratios
    "bounded_mean",
    "clustered_bootstrap",
    "paired_bootstrap_difference",
    "paired_bootstrap_ratio",
    # Paired tests and intervals
    "PairedCounts",
    "PairedMeans",
    "binary_equivalence_test",
    "binary_non_inferiority_test",
    "equivalence_test",
    "mcnemar_exact",
    "newcombe_interval",
    "non_inferiority_test",
    "paired_counts",
    "paired_means",
    "tango_interval",
    # Several tests
    "holm",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "e_benjamini_hochberg",
    "e_value",
    # Tails of sums
    "log_binomial_tail",
    "log_exponential_sum_tail",
    "log_gamma_tail",
    # Fractions, and what is certified about them
    "fixed_sequence",
    "fixed_sequence_graded",
    "fraction_interval",
    "fraction_lower_bound",
    "fraction_upper_bound",
    "rows_to_certify",
    "rows_to_certify_graded",
    "wilson_interval",
    # Graded scores without assumptions
    "ConfidenceSequence",
    "bernstein_interval",
    "bernstein_upper_bound",
    "betting_interval",
    "betting_lower_bound",
    "betting_sequence",
    "betting_upper_bound",
    # Change
    "BreachDetector",
    "BreachState",
    "DriftDetector",
    "DriftState",
    "EDetector",
    "expected_breach_delay",
    # Power
    "detectable_difference",
    "paired_power",
    "rows_for_difference",
    "rows_for_non_inferiority",
    # Agreement and calibration
    "CalibrationError",
    "ReliabilityBin",
    "RiskCoverage",
    "auroc",
    "cohen_kappa",
    "expected_calibration_error",
    "reliability",
    "risk_coverage",
    # Weighted sums of keyed scores
    "BernoulliLaw",
    "BinomialMeanLaw",
    "ExponentialLaw",
    "ScoreLaw",
    "WeightedSum",
    "WeightedTail",
    # Rankings
    "BradleyTerry",
    "Comparison",
    "Standing",
    "bradley_terry",
    "elo_scale",
    "expected_score",
    # Labels
    "LabelIssues",
    "confident_joint",
    "label_issues",
    # Yield curves
    "CallsFor",
    "YieldCurve",
    "fit_yield_curve",
    # Text
    "is_looping",
]
