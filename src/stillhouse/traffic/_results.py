"""What watching a log comes to, as records."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict

from stillhouse.records import Record
from stillhouse.traffic._config import TrafficConfig

Step = Literal["none", "log", "customer_key", "throttle", "verify"]
STEPS: tuple[Step, ...] = ("none", "log", "customer_key", "throttle", "verify")


class FigureResult(Record):
    """One figure beside what is usual."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    value: float
    usual: float
    """Mean of the reference."""
    high: float
    """99th percentile of the reference."""
    share_of_score: float
    """What the figure adds to the score, against the kinds of benign accounts that are most like
    it."""


class EvidenceResult(Record):
    """One comparison."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["window", "cluster"]
    num_requests: int
    """Of the window, or of the cluster's requests in shared frames."""
    num_accounts: int = 1
    first: datetime
    last: datetime
    score: float
    p_value: float
    num_reference: int
    """Reference scores that it was compared with."""
    figures: tuple[FigureResult, ...]


class AccountResult(Record):
    """One account that was found."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    account: str
    """Its pseudonym."""
    num_requests: int
    p_value: float
    """Twice the smaller one of its windows' and its best cluster's, before the number of accounts
    and clusters is thought of."""
    adjusted: float
    """The smallest false discovery rate at which it is found."""
    step: Step
    cluster: int | None = None
    """Which of `clusters` it is in, where that is the evidence."""
    evidence: tuple[EvidenceResult, ...]
    """The best window, and the cluster."""


class StepResult(Record):
    """One response."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    step: Step
    rate: float
    """The false discovery rate."""
    num_accounts: int
    """That are answered so, or more sharply."""
    expected_benign: float
    """The most that the rate lets be benign among them, in the mean."""


class WatchResults(Record):
    """What watching a log came to."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["stillhouse/traffic/results"] = "stillhouse/traffic/results"
    version: Literal[1] = 1
    num_requests: int
    num_malformed: int
    num_repeated: int
    num_backwards: int
    """Requests that came with an earlier time than the one before them."""
    num_too_old: int
    num_accounts: int
    num_small: int
    """Accounts with fewer requests than the shortest window, which only a cluster can find."""
    first: datetime
    last: datetime
    key: str
    reference: str
    """SHA-256 of the reference."""
    num_reference_accounts: int
    num_clusters: int
    """Groups of accounts that were compared."""
    steps: tuple[StepResult, ...]
    accounts: tuple[AccountResult, ...]
    """Those that are answered, the likeliest first."""
    clusters: tuple[tuple[str, ...], ...] = ()
    """Pseudonyms of all accounts of clusters that are evidence, also of those that share a frame
    with one, do not fit it, and are not answered for it."""
    notes: tuple[str, ...] = ()
    config: TrafficConfig
