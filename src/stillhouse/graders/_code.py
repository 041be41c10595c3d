"""Python answers: they pass their tests or not."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from stillhouse.errors import ConfigError, RecordError

_RUNNER = Path(__file__).with_name("_code_runner.py")
_FENCED = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\n(.*?)```", re.DOTALL)
_TIMEOUT_S = 10.0
_MEMORY_BYTES = 1 << 30
# No proxies and no keys; sets in the same order in every run; no threads that reserve memory.
_ENVIRONMENT = {"PATH": os.defpath, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}


def code(answer: str, expected: str, *, timeout_s: float = _TIMEOUT_S) -> float:
    """1 where a Python program passes its tests.

    The program and then the tests run in a new process with a folder of its own, an empty
    environment and limits on time, memory and file size. That holds off accidents. It is **no
    sandbox**: grade answers of a model that may be hostile in a virtual machine without network.

    Args:
        answer: The program; where it holds ``` fences, what stands in the first of them.
        expected: The tests: Python that raises where the program is wrong.
        timeout_s: Of the whole, after which it counts as failed.

    Raises:
        RecordError: the tests are no Python.
        ConfigError: this is Windows, which knows no such limits.
    """
    if sys.platform == "win32":
        raise ConfigError("The grader 'code' needs limits that Windows lacks. Use Linux or macOS.")
    try:
        compile(expected, "tests.py", "exec")
    except (SyntaxError, ValueError) as err:
        raise RecordError(f"The tests are no Python ({err}). Correct the reference.") from err
    fenced = _FENCED.search(answer)
    sign = secrets.token_hex(16)
    asked = {
        "code": fenced[1] if fenced else answer,
        "tests": expected,
        "sign": sign,
        "seconds": max(1, round(timeout_s)),
        "memory_bytes": _MEMORY_BYTES,
    }
    with tempfile.TemporaryDirectory(prefix="stillhouse-code-") as folder:
        return float(_report(json.dumps(asked).encode(), folder, timeout_s) == sign.encode())


def _report(asked: bytes, folder: str, timeout_s: float) -> bytes:
    """What the runner reports; nothing where it failed or took too long."""
    process = subprocess.Popen(
        [sys.executable, "-s", "-P", "-B", str(_RUNNER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"HOME": folder, "TMPDIR": folder, **_ENVIRONMENT},
        start_new_session=True,
    )
    try:
        report, _ = process.communicate(asked, timeout=timeout_s)
    except BaseException as err:
        os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        process.communicate()
        if isinstance(err, subprocess.TimeoutExpired):
            return b""
        raise
    return report
