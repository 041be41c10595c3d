"""What a cascade adds to the time of a teacher, at a fixed rate of requests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks._serve.cascades import ROOT, chat_bodies, subject, teaching
from benchmarks._serve.options import ServeOptions
from benchmarks._serve.serving import serving


def measured(options: ServeOptions) -> dict[str, Any]:
    """Milliseconds of the teacher asked directly, and of both routes through the cascade.

    The same texts in the same order at the same rate; direct and through take turns. `address` asks
    the teacher as it is, `ledger` records every call. The rounds with the least added median count.
    """
    found = subject(options)
    bodies = chat_bodies(found.answers, options.work / "chats.jsonl")
    ways: dict[str, list[dict[str, Any]]] = {"address": [], "ledger": []}
    with teaching(found.answers, options.work, delay_ms=options.teacher_ms) as teacher:
        for number in range(options.rounds):
            direct = _paced(teacher.port, bodies, options)["teacher"]
            for way, rounds in ways.items():
                rounds.append(_through(way, number, found.cascade, teacher.spec, bodies, options))
                rounds[-1]["direct"] = direct
                for share in ("p50_ms", "p99_ms"):
                    rounds[-1][f"added_{share}"] = rounds[-1]["teacher"][share] - direct[share]
    best = {way: min(rounds, key=lambda one: one["added_p50_ms"]) for way, rounds in ways.items()}
    return {"rate": options.rate, "teacher_ms": options.teacher_ms, **best}


def _through(
    way: str, number: int, cascade: Path, spec: str, bodies: Path, options: ServeOptions
) -> dict[str, Any]:
    # A fresh watch and ledger each time: what one round saw is no concern of the next.
    names = [options.work / f"{way}-{number}.{kind}" for kind in ("watch.json", "sqlite")]
    for name in names:
        name.unlink(missing_ok=True)
    flags = ["--teacher", spec, "--memory", str(names[0])]
    if way == "ledger":
        flags += ["--ledger", str(names[1])]
    with serving(str(cascade), *flags) as port:
        return _paced(port, bodies, options)


def _paced(port: int, bodies: Path, options: ServeOptions) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks._serve.routes", str(port), str(bodies)]
    done = subprocess.run(
        [*command, f"--rate={options.rate}", f"--seconds={options.seconds}"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told
