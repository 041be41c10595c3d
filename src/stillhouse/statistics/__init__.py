"""Figures and how sure they are: pure functions on numbers and text.

Where a verdict is asked for, `compare_paired` (graded scores) and `compare_paired_binary` (right or
wrong) give it; the other functions are what reports and guarantees are made of.
"""

from stillhouse.statistics._bootstrap import (
    clustered_bootstrap,
    paired_bootstrap_difference,
    paired_bootstrap_ratio,
)
from stillhouse.statistics._certify import fixed_sequence, rows_to_certify
from stillhouse.statistics._compare import compare_paired, compare_paired_binary
from stillhouse.statistics._fractions import (
    fraction_interval,
    fraction_lower_bound,
    fraction_upper_bound,
    wilson_interval,
)
from stillhouse.statistics._interval import Interval
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
from stillhouse.statistics._text import is_looping
from stillhouse.statistics._verdict import PairedComparison, Verdict, verdict_of

__all__ = [
    "Interval",
    # Verdicts
    "PairedComparison",
    "Verdict",
    "compare_paired",
    "compare_paired_binary",
    "verdict_of",
    # Means and ratios
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
    # Fractions, and what is certified about them
    "fixed_sequence",
    "fraction_interval",
    "fraction_lower_bound",
    "fraction_upper_bound",
    "rows_to_certify",
    "wilson_interval",
    # Power
    "detectable_difference",
    "paired_power",
    "rows_for_difference",
    "rows_for_non_inferiority",
    # Text
    "is_looping",
]
