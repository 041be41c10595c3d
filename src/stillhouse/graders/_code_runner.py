"""Runs an answer and its tests in a process of its own, which `_code.py` starts with this file.

It holds the process back from what a careless program does: taking all memory, time or disk,
writing outside of its folder, starting other programs, opening connections. It is no sandbox: a
program that wants to get around this can.
"""

import contextlib
import json
import os
import resource
import sys
from typing import Any

_MAX_FILE_BYTES = 16 << 20
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED = (
    *("subprocess.", "socket.connect", "socket.bind", "socket.getaddrinfo", "os.kill"),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn"),
)
_CHANGES = (
    *("os.remove", "os.rename", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.link"),
    *("os.symlink", "os.mkdir", "shutil.rmtree"),
)


def _main() -> None:
    asked = json.loads(sys.stdin.buffer.read())
    # What the answer prints must not be taken for the sign that its tests passed.
    report = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    _limit(asked["seconds"], asked["memory_bytes"])
    sys.addaudithook(_Guard(os.getcwd()))
    names: dict[str, Any] = {"__name__": "answer"}  # so that a part for scripts does not run
    exec(compile(asked["code"], "answer.py", "exec"), names)
    exec(compile(asked["tests"], "tests.py", "exec"), names)
    os.write(report, asked["sign"].encode())


def _limit(seconds: int, memory_bytes: int) -> None:
    for what, wanted in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, _MAX_FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError):  # macOS knows no limit of memory
            resource.setrlimit(what, (most, most))


class _Guard:
    """Refuses what reaches out of `folder`; Python asks it before each such step."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(f"{event} is not allowed in graded code")
        if event == "open" and (arguments[2] or 0) & _WRITES:
            self._check(arguments[0])
        elif event in _CHANGES:
            for path in arguments[:2]:
                self._check(path)

    def _check(self, path: Any) -> None:
        if isinstance(path, str | bytes):
            target = os.path.realpath(os.fsdecode(path))
            # Temporary files are opened under the name of their folder.
            is_inside = target == self._folder or target.startswith(self._folder + os.sep)
            if not is_inside and target != os.devnull:
                raise PermissionError(f"{target} is outside of the folder of graded code")


if __name__ == "__main__":
    _main()
