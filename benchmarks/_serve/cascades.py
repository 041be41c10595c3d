"""A cascade to measure, its texts, and the teacher beside it."""

import json
import random
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks._banking77.datasets import make_dataset
from benchmarks._banking77.options import Options
from benchmarks._banking77.rows import BANKING, banking77
from benchmarks._banking77.students import fitted
from benchmarks._serve.options import ServeOptions

from stillhouse.certify import CertifyConfig, certify

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Subject:
    """What is served.

    Attributes:
        cascade: Its folder.
        answers: What the teacher answers to each text that its users send.
    """

    cascade: Path
    answers: dict[str, str]


def subject(options: ServeOptions) -> Subject:
    """Banking77's n-gram student, certified; the texts are its test rows."""
    found = banking77(Options(data=options.data))
    dataset = make_dataset(found, options.work / BANKING)
    (student,) = fitted(dataset, options.work, "ngram", seeds=1)
    cascade = certify(
        student.path,
        dataset.path,
        options.work / "cascade",
        config=CertifyConfig(target=options.target),
        replace=True,
    )
    rows = list(found.test)
    random.Random(0).shuffle(rows)  # in the file they come label by label, which is a drift
    return Subject(cascade.path, {row.text: row.answer for row in rows})


class RunningTeacher:
    """A teacher in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def spec(self) -> str:
        """As `--teacher` takes it."""
        return f"http://127.0.0.1:{self.port}/v1#teacher"

    def be(self, mode: str) -> None:
        """Change how it is."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/mode", mode.encode())
        urllib.request.urlopen(request, timeout=10).read()


@contextmanager
def teaching(answers: dict[str, str], work: Path, *, delay_ms: float) -> Iterator[RunningTeacher]:
    """A teacher, until the block ends."""
    told = work / "answers.json"
    told.write_text(json.dumps(answers), encoding="utf-8")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks._serve.teacher",
            f"--delay-ms={delay_ms}",
            f"--answers={told}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the teacher did not start")
        yield RunningTeacher(json.loads(line)["port"])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def chat_bodies(texts: Iterable[str], path: Path) -> Path:
    """Each text as the body of a chat, one a line."""
    lines = (
        json.dumps({"model": "teacher", "messages": [{"role": "user", "content": text}]})
        for text in texts
    )
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
