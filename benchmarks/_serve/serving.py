"""A server in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(student: str, *options: str) -> Iterator[int]:
    """The port at which `stillhouse serve` listens."""
    with serving_process(student, *options) as (port, _):
        yield port


@contextmanager
def serving_process(student: str, *options: str) -> Iterator[tuple[int, int]]:
    """The port at which `stillhouse serve` listens, and the id of its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stillhouse", "serve", student, "--port", "0", "--json", *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server of {student} did not start")
            text += line
        yield int(json.loads(text)["url"].rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
