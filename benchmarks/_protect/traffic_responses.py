"""What graded responses cost honest users, held against the labels of simulated traffic."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from benchmarks._protect.traffic_made import Made

from stillhouse.traffic import WatchResults


class StepCost(NamedTuple):
    """What one response costs honest users.

    Attributes:
        accounts: That get it, or a sharper one.
        benign: Of them.
        expected_benign: The most that the rate lets be benign, as `watch` tells it.
    """

    accounts: float
    benign: float
    expected_benign: float


def step_costs(results: WatchResults, traffic: Made) -> dict[str, StepCost]:
    """The cost of each response, held against the labels."""
    kinds = dict(zip(traffic.table.accounts, traffic.kind_A, strict=True))
    found = {}
    for step in results.steps:
        names = [one.account for one in results.accounts if one.adjusted <= step.rate]
        benign = sum(kinds[name] != "hydra" for name in names)
        found[step.step] = StepCost(len(names), benign, step.expected_benign)
    return found


def mean_costs(logs: Sequence[dict[str, StepCost]]) -> dict[str, Any]:
    """The means over logs."""
    return {
        step: {
            name: round(float(np.mean([getattr(one[step], name) for one in logs])), 2)
            for name in StepCost._fields
        }
        for step in logs[0]
    }
