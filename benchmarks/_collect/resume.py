"""How long a collection with a million answers takes from its start to its first new request.

The ledger is written by `collect` itself, from a teacher in the same process that answers at once,
up to the last prompt but one; it is kept in the temporary folder for the next time.
"""

import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks._collect.clients import Installed, find_ours, write_prompts
from benchmarks._collect.options import Options
from benchmarks._parts.processes import kill, measure_module, start
from benchmarks._parts.spread import spread
from tests.mock_provider import MockProcess

import stillhouse
from stillhouse.collect import CollectConfig, collect
from stillhouse.errors import TeacherError
from stillhouse.records import Usage
from stillhouse.runlog import Answer
from stillhouse.teachers import Teacher, TeacherInfo, open_teacher

_GROUP = 64
_BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"mock-small","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"A Headline"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":29,"completion_tokens":2,"total_tokens":31}}'
)
_GIVE_UP_S = 300.0


def run(options: Options) -> dict[str, Any]:
    """Seconds, over several starts; beside that, when a row was added to the file meanwhile."""
    ours = find_ours(options.pythons)
    cached = _cached(options)
    with (
        tempfile.TemporaryDirectory() as folder,
        MockProcess(is_fast=True, latency={"first_s": _GIVE_UP_S}, log="none") as mock,
    ):
        copy = Path(folder) / "copy"
        stopped, appended = (
            [
                _first_request_s(ours, mock, _copy(cached, copy, is_appended=is_appended), options)
                for _ in range(num_rounds)
            ]
            for is_appended, num_rounds in ((False, options.rounds), (True, 1))
        )
    return {
        "num_done": options.num_resume,
        "ledger_mb": round((cached / "ledger.sqlite").stat().st_size / 1e6),
        "first_request_s": spread(stopped, 2),
        "first_request_after_append_s": round(appended[0], 2),
    }


def _copy(cached: Path, folder: Path, *, is_appended: bool) -> Path:
    shutil.copytree(cached, folder)
    prompts = folder / "prompts.jsonl"
    if is_appended:
        with prompts.open("a", encoding="utf-8") as file:
            file.write('{"id": "new", "prompt": "Write a headline about a new town."}\n')
    return prompts


def _first_request_s(ours: Installed, mock: MockProcess, prompts: Path, options: Options) -> float:
    """From the start of the process until the mock has seen a request."""
    folder = prompts.parent
    num_before = mock.counts()["received"]
    started_s = time.perf_counter()
    child = start(ours.command(mock.url, prompts, folder, options.concurrency), stderr=None)
    try:
        while mock.counts()["received"] == num_before:
            if child.poll() is not None or time.perf_counter() - started_s > _GIVE_UP_S:
                raise RuntimeError(f"no request came; the process: {child.poll()}")
            time.sleep(0.01)
        return time.perf_counter() - started_s
    finally:
        kill(child)
        child.wait()
        shutil.rmtree(folder)


def _cached(options: Options) -> Path:
    """The folder of a collection that was stopped before its last prompt."""
    stem = f"stillhouse-bench-resume-{options.num_resume}-"
    folder = Path(tempfile.gettempdir()) / f"{stem}{_sources_sha256()[:12]}"
    if not folder.exists():
        for old in folder.parent.glob(f"{stem}*"):
            shutil.rmtree(old)
        begun = folder.with_suffix(".part")
        begun.mkdir()
        write_prompts(begun / "prompts.jsonl", options.num_resume + 1)
        # What it needs in memory would count for the processes that are started here.
        measure_module("benchmarks._collect.resume", begun, options.num_resume, options.concurrency)
        begun.rename(folder)
    return folder


def _sources_sha256() -> str:
    """Of our sources: a ledger of other code may have another form, or other names for a run."""
    digest = hashlib.sha256()
    for path in sorted(Path(stillhouse.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Instant(Teacher):
    """Answers so many requests at once, under another teacher's name, and then is gone."""

    def __init__(self, info: TeacherInfo, num_answers: int) -> None:
        self._info = info
        self._num_left = num_answers

    @property
    def info(self) -> TeacherInfo:
        """What it says it is."""
        return self._info

    def stream(self, pull: Any) -> Iterator[list[Answer]]:
        """Answer in groups."""
        while self._num_left:
            requests = pull(min(_GROUP, self._num_left))
            self._num_left -= len(requests)
            usage = Usage(prompt_tokens=29, completion_tokens=2)
            yield [
                Answer(request.id, "openai_chat", _BODY, "stop", "mock-small", usage)
                for request in requests
            ]
        raise TeacherError("stopped on purpose")

    def close(self) -> None:
        """Nothing to release."""


def _build(folder: Path, num_answers: int, concurrency: int) -> None:
    # No request is sent to the URL; like the benchmark's, it says only what the teacher is called.
    with open_teacher("http://127.0.0.1:9/v1#mock-small") as named:
        info = named.info
    config = CollectConfig.model_validate(
        {"sampling": {"max_tokens": 256}, "access": {"concurrency": concurrency}}
    )
    with suppress(TeacherError):
        collect(
            folder / "prompts.jsonl",
            folder / "completions",
            teacher=_Instant(info, num_answers),
            config=config,
        )


if __name__ == "__main__":
    _build(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
