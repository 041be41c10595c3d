"""Settings for every test: one thread per process, so that tests share a small machine fairly."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tiny_chain import Chain

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GIVEN = {name: os.environ.get(name) for name in _ONE_THREAD}

# Before anything imports numpy or torch: both read these once. xdist brings the parallelism.
for _name in _ONE_THREAD:
    os.environ[_name] = "1"
# Tokenizers would start threads of its own and warn after each fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test may ask a hub for anything.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def user_environment() -> dict[str, str]:
    """Environment for a real process that is to run as fast as a user's would."""
    environment = {name: value for name, value in os.environ.items() if name not in _ONE_THREAD}
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
