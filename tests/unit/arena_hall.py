"""Small arenas that are really held: models of known strength, and a judge of known faults.

Every model writes texts that say how good they are (`quality=1.25`), with noise of its own for each
prompt. The noise is Gumbel's, so that one model beats another with the odds of Bradley and Terry:
a difference of strengths of 1 is odds of e to one. The judge reads those numbers.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stillhouse.artifacts import Artifact
from stillhouse.collect import CollectConfig, collect
from stillhouse.evaluate import Ask
from stillhouse.records import Completion, Message, Prompt, Request, Sampling, Usage
from stillhouse.runlog import Answer, Listener
from stillhouse.teachers import Pull, Teacher, TeacherInfo
from stillhouse.teachers._answers import answer_of

_QUALITY = re.compile(r"quality=(-?[0-9.]+)")
_ANSWER = re.compile(r"<answer ([AB]) \w+>\n(.*?)\n</answer", re.DOTALL)

PRICE_USD = 0.001
"""Of each call."""

Speak = Callable[[Request], str]


def prompts(count: int, *, split: str = "held_out") -> list[Prompt]:
    return [
        Prompt.model_validate(
            {
                "id": f"p{n}",
                "messages": [{"role": "user", "content": f"Question {n}?"}],
                "split": split,
            }
        )
        for n in range(count)
    ]


def uniform(*parts: object) -> float:
    """A number in (0, 1) that depends on `parts` alone."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return (int.from_bytes(digest[:8], "big") + 0.5) / 2**64


@dataclass(frozen=True)
class Writer:
    """A model: how good its answers are, and how long."""

    name: str
    strength: float
    num_words: int = 20

    def __call__(self, request: Request) -> str:
        question = request.messages[-1].content
        noise = -math.log(-math.log(uniform(self.name, question)))
        # Lengths differ from answer to answer, also between models that write alike.
        num_words = round(self.num_words * (0.5 + uniform("length", self.name, question)))
        return f"quality={self.strength + noise:.6f}" + " word" * num_words


@dataclass(frozen=True)
class Ruler:
    """A judge: prefers the better answer, give or take what it is biased by."""

    first_bonus: float = 0.0
    """Added to whatever is shown first."""
    length_bonus: float = 0.0
    """Times the difference of lengths over their sum."""
    form: str = "{reason}\n[[{verdict}]]"

    def __call__(self, request: Request) -> str:
        shown = dict(_ANSWER.findall(request.messages[-1].content))
        first, second = (float((*_QUALITY.findall(shown[name]), "-9")[0]) for name in "AB")
        sizes = len(shown["A"]), len(shown["B"])
        lead = first - second + self.first_bonus
        lead += self.length_bonus * (sizes[0] - sizes[1]) / sum(sizes)
        return self.form.format(reason=f"{lead:+.3f}", verdict="A" if lead > 0 else "B")


class Spoken(Teacher):
    """Answers with a function of the request, and remembers what it was asked."""

    def __init__(self, name: str, speak: Speak) -> None:
        self.asked: list[Request] = []
        self._name = name
        self._speak = speak

    @property
    def info(self) -> TeacherInfo:
        return TeacherInfo(id=f"spoken:{self._name}", provider="fake")

    def worst_cost_usd(self, request: Request) -> float | None:
        return PRICE_USD

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        while requests := pull(64):
            self.asked += requests
            yield [answer_of(self._completion(request)) for request in requests]

    def close(self) -> None:
        """Nothing to release."""

    def _completion(self, request: Request) -> Completion:
        text = self._speak(request)
        return Completion(
            request_id=request.id,
            prompt_id=request.prompt_id,
            text=text,
            finish_reason="length" if text.endswith("...") else "stop",
            model=f"spoken-{self._name}",
            usage=Usage(prompt_tokens=9, completion_tokens=len(text.split()), cost_usd=PRICE_USD),
            created_utc=datetime.now(UTC),
        )


@dataclass
class Hall:
    """Where arenas are held: a folder with its ledger, and the teachers by their specs."""

    folder: Path
    teachers: dict[str, Spoken] = field(default_factory=dict)
    budget_usd: float | None = None

    def let_speak(self, **speakers: Speak) -> None:
        self.teachers |= {name: Spoken(name, speak) for name, speak in speakers.items()}

    def num_asked(self, name: str) -> int:
        return len(self.teachers[name].asked)

    @property
    def ask(self) -> Ask:
        def ask(
            prompts: Sequence[Prompt],
            out: Path,
            *,
            teacher: str,
            sampling: Sampling,
            max_failure_fraction: float,
            on_progress: Listener,
        ) -> Artifact:
            return collect(
                prompts,
                out,
                teacher=self.teachers[teacher],
                config=CollectConfig.model_validate(
                    {
                        "sampling": sampling,
                        "max_failure_fraction": max_failure_fraction,
                        "access": {"budget_usd": self.budget_usd},
                    }
                ),
                ledger=self.folder / "ledger.sqlite",
                replace=True,
                on_progress=on_progress,
            )

        return ask


def writers(strengths: Mapping[str, float], **changes: int) -> dict[str, Writer]:
    return {name: Writer(name, strength, **changes) for name, strength in strengths.items()}


def message(text: str) -> Message:
    return Message(role="user", content=text)
