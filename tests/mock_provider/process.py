"""The mock provider as a process, for tests that kill and for benchmarks."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.mock_provider.server import BASE_PATHS

_ROOT = Path(__file__).resolve().parents[2]


class MockProcess:
    """Runs `python -m tests.mock_provider` until closed, and talks to it over HTTP.

    Args:
        is_fast: Whether only plain chat completions are served, at a tenth of the cost.
    """

    def __init__(self, *, is_fast: bool = False, **settings: Any) -> None:
        self.url = ""
        self._command = [sys.executable, "-m", "tests.mock_provider", "--port", "0"]
        self._command += ["--parent", str(os.getpid())]
        if settings:
            self._command += ["--set", json.dumps(settings)]
        if is_fast:
            self._command.append("--fast")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=_ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the mock provider ended with {self._process.wait()}")
        self.url = json.loads(line)["url"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Of the process, to see what it uses."""
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return int(self.url.rpartition(":")[2])

    def base_url(self, dialect: str) -> str:
        """What the official SDK of a dialect takes as its base URL."""
        return self.url + BASE_PATHS[dialect]

    def log(self, start: int = 0) -> list[dict[str, Any]]:
        """What was received, from the `start`-th on."""
        return self._ask(f"/_mock/log?start={start}")  # type: ignore[no-any-return]

    def counts(self) -> dict[str, Any]:
        """Sums over all requests."""
        return self._ask("/_mock/counts")  # type: ignore[no-any-return]

    def change(self, **changes: Any) -> None:
        """Change settings from now on."""
        self._ask("/_mock/set", json.dumps(changes).encode())

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(self.url + path, body, timeout=10) as response:
            return json.load(response)
