"""Serve the GGUF file beside this one with llama.cpp: /v1/chat/completions and the rest of its API.

HOST, PORT, CONTEXT and SLOTS come from the environment; with API_KEY set, requests must show it.
"""

# This file is copied into each container and imports nothing of what made it.

import os
import threading
from pathlib import Path

import xllamacpp


def main() -> None:
    """Run until the process is told to stop."""
    (model,) = Path(__file__).resolve().parent.glob("*.gguf")
    slots = int(os.environ.get("SLOTS", "4"))
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {model.stem}
    params.hostnames = [os.environ.get("HOST", "0.0.0.0")]
    params.port = int(os.environ.get("PORT", "8080"))
    params.n_parallel = slots
    params.n_ctx = slots * int(os.environ.get("CONTEXT", "2048"))
    params.ui = False
    params.verbosity = -1
    if key := os.environ.get("API_KEY"):
        params.api_keys = [key]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
