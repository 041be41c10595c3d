"""Run the command line: in this process where that tells the truth, else in one of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from stillhouse.cli._main import run_command


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return orjson.loads(self.out)


def run_here(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """Run a command in this process."""
    capsys.readouterr()
    code = run_command([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return Ran(code, out, err)


def start(*arguments: object, cwd: Path, **options: Any) -> "subprocess.Popen[str]":
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "stillhouse", *map(str, arguments)],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **options.pop("env", {})},
        **options,
    )


def run_there(*arguments: object, cwd: Path, stdin: str = "", **env: str) -> Ran:
    """Run a command in a process of its own, to its end."""
    process = start(*arguments, cwd=cwd, stdin=subprocess.PIPE, env=env)
    out, err = process.communicate(stdin, timeout=60)
    return Ran(process.returncode, out, err)


def write_prompts(path: Path, *, num_train: int = 4, num_held_out: int = 2) -> Path:
    """A small file of prompts."""
    rows = [
        {"prompt": f"Write a headline about ferry number {n} today", "split": split}
        for split, count in (("train", num_train), ("held_out", num_held_out))
        for n in range(len(split) * 100, len(split) * 100 + count)
    ]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path
