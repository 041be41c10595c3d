"""What can go wrong between a request and its answer, and when it does.

A fault is written `kind:name=value,name=value`, in the settings, in the header `x-mock-fault`, or
in the prompt as `[[fault=server_error:times=1]]`.
"""

import dataclasses
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

REFUSALS = {
    "bad_request": "invalid",
    "unauthorized": "key",
    "billing": "billing",
    "forbidden": "permission",
    "not_found": "missing",
    "timeout": "timeout",
    "conflict": "conflict",
    "too_large": "too_large",
    "rate_limit": "rate_limited",
    "quota": "quota",
    "server_error": "server_error",
    "bad_gateway": "bad_gateway",
    "unavailable": "unavailable",
    "overloaded": "overloaded",
}
"""Faults that are a refusal in the provider's words, and its kind."""

BEFORE_WORK = {
    "hang": "takes the request and never answers",
    "reset": "resets the connection before any header",
    "redirect": "answers 307 with another place",
    "html": "answers 200 with a page of HTML, as a proxy in between would",
    "html_error": "answers 502 with a page of HTML",
    "empty": "answers 200 with nothing in it",
    "error_object": "answers 200 with an error object",
}
"""Faults that come instead of an answer: nothing was done, nothing is to be paid."""

AFTER_WORK = {
    "lost": "does the work and drops the connection before any header",
    "late_hang": "does the work and never answers",
    "cut": "drops the connection in the middle of the answer",
    "no_end": "ends a stream in good order, before its last event",
    "late_error": "sends an error event in the middle of a stream, after 200",
    "torn_json": "sends half of a JSON object as if it were whole",
    "bad_utf8": "puts bytes into the answer that are not UTF-8",
    "no_usage": "leaves usage out",
    "keep_alive": "sends blank lines and comments, before the answer and between its events",
    "drip": "sends a few bytes at a time with `delay_s` between",
    "shred": "sends 7 bytes at a time, wherever that cuts",
    "crlf": "ends the lines of a stream with CR LF",
    "stall": "stops in the middle of the answer and says no more",
    "oversized": "makes the body `size_bytes` longer",
    "late_type": "sends the right answer as text/plain",
}
"""Faults of the answer itself: the work was done, and would be paid."""

KINDS = frozenset((*REFUSALS, *BEFORE_WORK, *AFTER_WORK))
_IN_PROMPT = re.compile(rb"\[\[fault=([^\]]+)\]\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: A name of this module.
        wait_s: How long a refusal asks to wait; None asks for nothing.
        form: How it asks: seconds, ms, date, retry_info, none.
        should_retry: Value of the header `x-should-retry`, None sends none.
        delay_s: Pause of `drip` and `keep_alive`.
        size_bytes: Of `oversized`.
        at: Where in the answer, as a fraction.
        path: Only requests whose path has this in it.
        contains: Only requests whose raw body has this in it.
        method: Only requests of this method.
        nth: Only these of the requests that fit so far, counted from 1.
        first: Only the first so many of them.
        every: Only every so manyth of them.
        times: Only the first so many tries of each request, told by its body.
        probability: Only this share of them, drawn with `seed`.
    """

    kind: str
    wait_s: float | None = None
    form: str = "seconds"
    should_retry: str | None = None
    delay_s: float = 0.01
    size_bytes: int = 50_000_000
    at: float = 0.5
    path: str = ""
    contains: str = ""
    method: str = ""
    nth: tuple[int, ...] = ()
    first: int = 0
    every: int = 0
    times: int = 0
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind!r}. There are {sorted(KINDS)}")

    @classmethod
    def parse(cls, text: str | Mapping[str, Any]) -> "Fault":
        """A fault from its text, or from the JSON object of its fields.

        Raises:
            ValueError: no such kind or field.
        """
        if isinstance(text, Mapping):
            return cls(**text)
        kind, _, rest = text.partition(":")
        given = dict(part.split("=", 1) for part in rest.split(",") if part)
        kinds = {each.name: _name_of(each.type) for each in dataclasses.fields(cls)}
        if unknown := sorted(set(given) - set(kinds)):
            raise ValueError(f"no such fields of a fault: {unknown}")
        return cls(kind=kind, **{name: _read(kinds[name], value) for name, value in given.items()})


class FaultPlan:
    """Decides for each request what goes wrong with it, remembering those before."""

    def __init__(self) -> None:
        self._fitting: Counter[Fault] = Counter()
        self._tries: Counter[tuple[Fault, int]] = Counter()
        self._draws: dict[Fault, random.Random] = {}

    def choose(
        self, faults: Sequence[Fault], method: str, path: str, header: str | None, body: bytes
    ) -> Fault | None:
        """The first fault that fits: of the header, of the prompt, of the settings."""
        given = [Fault.parse(header)] if header else []
        if b"[[fault=" in body and (found := _IN_PROMPT.search(body)):
            given.append(Fault.parse(found[1].decode()))
        for fault in (*given, *faults):
            if self._fits(fault, method, path, body):
                return fault
        return None

    def _fits(self, fault: Fault, method: str, path: str, body: bytes) -> bool:
        if fault.path not in path or fault.contains.encode() not in body:
            return False
        if fault.method and fault.method != method:
            return False
        self._fitting[fault] += 1
        number = self._fitting[fault]
        if (fault.nth and number not in fault.nth) or (fault.first and number > fault.first):
            return False
        if fault.every and number % fault.every:
            return False
        if fault.times:
            self._tries[fault, crc32(body)] += 1
            return self._tries[fault, crc32(body)] <= fault.times
        return fault.probability >= 1 or self._draw(fault) < fault.probability

    def _draw(self, fault: Fault) -> float:
        return self._draws.setdefault(fault, random.Random(fault.seed)).random()


def _read(kind: str, value: str) -> Any:
    if kind.startswith("tuple"):
        return tuple(int(number) for number in value.split("+"))
    if kind.startswith("int"):
        return int(value)
    return float(value) if kind.startswith("float") else value


def _name_of(kind: Any) -> str:
    # `int` has a name, `float | None` does not.
    return getattr(kind, "__name__", str(kind))
