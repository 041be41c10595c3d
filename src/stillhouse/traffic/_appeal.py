"""The record that an account which is answered can ask for, and others can check.

One JSON document for each account, in canonical bytes: the same results give the same bytes, whose
SHA-256 can be the subject of a signed statement. It holds numbers about requests and no request.
"""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from stillhouse.artifacts import atomic_write_bytes
from stillhouse.records import Record, canonical_json
from stillhouse.traffic._config import TrafficConfig
from stillhouse.traffic._results import AccountResult, WatchResults

HYPOTHESIS = "The account's requests are alike to those of the reference accounts."
ASSUMPTIONS = (
    "The reference accounts are mostly benign, and benign accounts of the log are like them but "
    "for chance: the same service, about the same time and number of accounts.",
    "Accounts are independent of one another but for what a cluster says they share.",
    "For procedure bh: p-values are independent or positively dependent.",
    "For clusters: beyond the highest tenth of the reference's scores, chances fall at least as "
    "fast as exponentially.",
)
LIMITS = (
    "It does not show who the account belongs to, what its answers were used for, or that anything "
    "was trained on them.",
    "Testers, teachers and makers of benchmarks ask in ways that extraction asks in too.",
    "The weights of figures were fitted on simulated traffic; p-values do not rest on them.",
    "Being in a cluster says that frames are shared, which a public framework explains as well.",
)
APPEAL = (
    "Ask for a person to look at it, and give what explains the requests: the application, the "
    "framework whose frames it uses, the study or test that it serves. The operator can hash the "
    "account's own requests again under the key and compute every figure from them."
)


class AppealRecord(Record):
    """Why an account is answered as it is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["stillhouse/traffic/appeal"] = "stillhouse/traffic/appeal"
    version: Literal[1] = 1
    account: AccountResult
    hypothesis: str = HYPOTHESIS
    """What the p-value is a test of."""
    num_accounts: int
    """That were tested together."""
    num_requests: int
    num_reference_accounts: int
    reference: str
    key: str
    config: TrafficConfig
    assumptions: tuple[str, ...] = ASSUMPTIONS
    limits: tuple[str, ...] = LIMITS
    appeal: str = APPEAL


def appeal_record(results: WatchResults, account: AccountResult) -> AppealRecord:
    """The record of an account of `results`."""
    return AppealRecord(
        account=account,
        num_accounts=results.num_accounts,
        num_requests=results.num_requests,
        num_reference_accounts=results.num_reference_accounts,
        reference=results.reference,
        key=results.key,
        config=results.config,
    )


def write_appeals(results: WatchResults, folder: Path) -> list[Path]:
    """Write the record of every account that is answered, named by its pseudonym."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for account in results.accounts:
        path = folder / f"{account.account}.json"
        atomic_write_bytes(path, canonical_json(appeal_record(results, account)) + b"\n")
        paths.append(path)
    return paths
