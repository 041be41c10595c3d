"""Serve the GGUF file beside this one with llama.cpp: /v1/chat/completions and the rest of its API.

HOST, PORT, CONTEXT and SLOTS come from the environment, and so does API_KEY, which requests must
show: where other machines may reach HOST, nothing is served without one.
"""

# This file is copied into each container and imports nothing of what made it.

import os
import sys
import threading
from pathlib import Path

import xllamacpp


def main() -> None:
    """Run until the process is told to stop."""
    host, key = os.environ.get("HOST", "0.0.0.0"), os.environ.get("API_KEY")
    if not key and host not in ("127.0.0.1", "localhost", "::1"):
        sys.exit(f"{host} is reached by other machines. Set API_KEY: docker run -e API_KEY=...")
    (model,) = Path(__file__).resolve().parent.glob("*.gguf")
    slots = int(os.environ.get("SLOTS", "4"))
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {model.stem}
    params.hostnames = [host]
    params.port = int(os.environ.get("PORT", "8080"))
    params.n_parallel = slots
    params.n_ctx = slots * int(os.environ.get("CONTEXT", "2048"))
    params.ui = False
    params.verbosity = -1
    if key:
        params.api_keys = [key]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
