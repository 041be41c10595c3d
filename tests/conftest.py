"""Settings for every test: one thread per process, so that tests share a small machine fairly."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from proxy_cases import RunningProxy
    from tiny_chain import Chain

    from tests.mock_provider import MockProvider

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GIVEN = {name: os.environ.get(name) for name in _ONE_THREAD}

# Runners in the background may ignore Ctrl-C, and would leave that to the processes of the tests.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Before anything imports numpy or torch: both read these once. xdist brings the parallelism.
for _name in _ONE_THREAD:
    os.environ[_name] = "1"
# Tokenizers would start threads of its own and warn after each fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test may ask a hub for anything.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Mock providers and models of random numbers are the tests' own.
os.environ["STILLHOUSE_TERMS"] = str(Path(__file__).parent / "fixtures" / "terms.yaml")

# The same examples each time; `--hypothesis-profile random` looks for others.
settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile("same")


@pytest.fixture(scope="session")
def user_environment() -> dict[str, str]:
    """Environment for a real process that is to run as a user's would: as fast, undeclared."""
    ours = (*_ONE_THREAD, "STILLHOUSE_TERMS")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    return {**environment, **{name: value for name, value in _GIVEN.items() if value is not None}}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of 50,000 random parameters; see `tiny_model`."""
    from tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> "Chain":
    """The tiny model as teacher, with the completions, dataset and signal it made."""
    from tiny_chain import make_chain

    return make_chain(tmp_path_factory.mktemp("chain"), tiny_folder)


@pytest.fixture(scope="session")
def bank_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of `bank_rows(1200, held_out=600)`, its student, and two cascades of it."""
    from certify_cases import bank_rows, fitted_bank

    from stillhouse.certify import CertifyConfig, certify

    folder = tmp_path_factory.mktemp("bank")
    dataset, student = fitted_bank(folder, bank_rows(1200, held_out=600))
    for name, target in (("cascade", 0.9), ("second", 0.85)):
        certify(student, dataset, folder / name, config=CertifyConfig(target=target))
    return folder


@pytest.fixture(scope="module")
def mock() -> "Iterator[MockProvider]":
    """A provider for all tests of a module; those that need one untouched make their own."""
    from tests.mock_provider import MockProvider

    with MockProvider() as mock:
        yield mock


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where a ledger may be made."""
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def proxy(mock: "MockProvider", ledger: Path) -> "Iterator[RunningProxy]":
    """A proxy to `mock` that records in `ledger`."""
    from proxy_cases import proxy_for

    with proxy_for(mock, "openai_chat", ledger) as proxy:
        yield proxy
