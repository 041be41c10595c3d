"""Settings for every test: one thread per process, so that tests share a small machine fairly."""

import os

# Before anything imports numpy or torch: both read these once. xdist brings the parallelism.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Tokenizers would start threads of its own and warn after each fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test may ask a hub for anything.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
