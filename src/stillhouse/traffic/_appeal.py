"""The record that an account which is answered can ask for, and others can check.

One JSON document for each account, in canonical bytes: the same results give the same bytes, whose
SHA-256 can be the subject of a signed statement. It holds numbers about requests and no request.
"""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, ValidationError

from stillhouse.artifacts import atomic_write_bytes
from stillhouse.errors import ConfigError, DataError
from stillhouse.records import Record, canonical_json
from stillhouse.traffic._config import TrafficConfig
from stillhouse.traffic._responses import Clearing
from stillhouse.traffic._results import AccountResult, WatchResults

HYPOTHESIS = "The account's requests are alike to those of the reference accounts."
ASSUMPTIONS = (
    "The reference accounts are mostly benign, and benign accounts of the log are like them but "
    "for chance: the same service, about the same time and number of accounts.",
    "Accounts are independent of one another but for what a cluster says they share.",
    "For procedure bh: p-values are independent or positively dependent.",
    "Beyond the highest tenth of the reference's scores, chances fall at least as fast as "
    "exponentially.",
)
LIMITS = (
    "It does not show who the account belongs to, what its answers were used for, or that anything "
    "was trained on them.",
    "Testers, teachers and makers of benchmarks ask in ways that extraction asks in too.",
    "The weights of figures were fitted on simulated traffic; p-values rest on the scores of the "
    "reference's accounts, whatever the weights.",
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
    clearings: tuple[Clearing, ...] = ()
    """When it was cleared, by whoever runs the service, and why; the first one first."""
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
    """Write the record of every account that is answered, named by its pseudonym.

    A record that is there is replaced; clearings that it holds are kept.

    Raises:
        DataError: a file of that name is no record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for account in results.accounts:
        path = _path(folder, account.account)
        clearings = read_appeal(path).clearings if path.exists() else ()
        record = appeal_record(results, account).model_copy(update={"clearings": clearings})
        _write(path, record)
        paths.append(path)
    return paths


def read_appeal(path: Path) -> AppealRecord:
    """The record in a file.

    Raises:
        ConfigError: it cannot be read.
        DataError: it holds anything else.
    """
    try:
        return AppealRecord.model_validate_json(path.read_bytes())
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be read ({err.strerror}). Give the folder that watch --appeals wrote."
        ) from err
    except ValidationError as err:
        raise DataError(
            f"{path} is no appeal record, or is cut off. Restore it, or move it away: it may say "
            "that the account was cleared."
        ) from err


def add_clearing(folder: Path, clearing: Clearing) -> Path:
    """Keep in an account's record that it was cleared, and why.

    Raises:
        ConfigError, DataError: as in `read_appeal`.
    """
    path = _path(folder, clearing.account)
    record = read_appeal(path)
    _write(path, record.model_copy(update={"clearings": (*record.clearings, clearing)}))
    return path


def _path(folder: Path, account: str) -> Path:
    return folder / f"{account}.json"


def _write(path: Path, record: AppealRecord) -> None:
    atomic_write_bytes(path, canonical_json(record) + b"\n")
