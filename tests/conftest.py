"""Settings for every test: one thread per process, so that tests share a small machine fairly."""

import os
from pathlib import Path

import pytest

# Before anything imports numpy or torch: both read these once. xdist brings the parallelism.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Tokenizers would start threads of its own and warn after each fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test may ask a hub for anything.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of 50,000 random parameters; see `tiny_model`."""
    from tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny-model"))
