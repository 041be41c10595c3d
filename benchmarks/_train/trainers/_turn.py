"""How a trainer tells what it did: one line of JSON, the last that it prints."""

import json
import time
from importlib.metadata import version
from typing import Any


class StepClock:
    """When each step ended; the time between two ends is that of a step, its reading included."""

    def __init__(self) -> None:
        self._last_s = time.perf_counter()
        self.seconds: list[float] = []

    def begin(self) -> None:
        self._last_s = time.perf_counter()

    def end_step(self) -> None:
        now_s = time.perf_counter()
        self.seconds.append(now_s - self._last_s)
        self._last_s = now_s


def report(package: str, seconds: list[float], tokens: list[int], **more: Any) -> None:
    """Print what the steps took and how many completion tokens each of them learnt."""
    steps = [{"seconds": s, "tokens": n} for s, n in zip(seconds, tokens, strict=True)]
    print(json.dumps({"version": version(package), "steps": steps, **more}))
