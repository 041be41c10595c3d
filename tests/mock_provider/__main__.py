"""`python -m tests.mock_provider`: prints its URL as one line of JSON, then serves."""

import argparse
import json
import os
import signal
import sys
import threading

from tests.mock_provider.fast import FastProvider
from tests.mock_provider.server import MockProvider
from tests.mock_provider.settings import Settings

_PARENT_CHECK_S = 0.5


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.mock_provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--set", default="{}", metavar="JSON", help="settings, as a JSON object")
    parser.add_argument("--fast", action="store_true", help="only plain chat, at a tenth the cost")
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    given = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    kind = FastProvider if given.fast else MockProvider
    with kind(Settings(), port=given.port, **json.loads(given.set)) as provider:
        sys.stdout.write(json.dumps({"url": provider.url}) + "\n")
        sys.stdout.flush()
        while not stopped.wait(_PARENT_CHECK_S):
            # A test that is killed cannot end its server.
            if given.parent not in (None, os.getppid()):
                break


if __name__ == "__main__":
    main()
