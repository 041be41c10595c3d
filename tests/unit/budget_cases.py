"""Teachers that cost money, and what their provider has charged: for the tests of budgets."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from stillhouse.collect import CollectConfig
from stillhouse.collect._asking import Asking
from stillhouse.collect._purse import FixedPurse, Purse
from stillhouse.collect._run import Run
from stillhouse.collect._shares import Share
from stillhouse.collect._source import PromptSource
from stillhouse.collect._tally import Tally
from stillhouse.errors import TeacherError
from stillhouse.records import ItemError, Message, Prompt, Request, Sampling, Usage
from stillhouse.runlog import Answer, Ledger, ignore_progress
from stillhouse.teachers import Pull, Teacher, TeacherInfo
from stillhouse.teachers._base import Allowance
from stillhouse.teachers._costs import Price, Rates, Schedule

PRICE = Price(Schedule(Rates(1.0, 1.0)), source="test")


class DiedError(TeacherError):
    """A teacher ended in the middle of its calls."""


@dataclass
class Bill:
    """What a provider has charged; it is looked at after every charge.

    Attributes:
        cap_usd: What it may come to.
        paid_usd: What it has come to.
        most_usd: The largest excess that was seen, 0 or less where the cap held.
    """

    cap_usd: float
    paid_usd: Fraction = Fraction(0)
    most_usd: Fraction = field(default_factory=lambda: Fraction(-1))

    def charge(self, usd: float) -> None:
        """One more call is paid."""
        self.paid_usd += Fraction(usd)
        self.most_usd = max(self.most_usd, self.paid_usd - Fraction(self.cap_usd))


class CostlyTeacher(Teacher):
    """Keeps requests under way and answers them in a random order, at random costs.

    Args:
        name: Tells it from others.
        bill: Where it charges.
        draw: Of costs, order and ends.
        worst_usd: The most that a call costs.
        shares: What of that it may cost.
        failing: The share of calls that end in an error.
        at_once: Requests under way at once.
        pulls_again: Whether it asks for more in the same stream after there was nothing.
        dies: Whether it may end in the middle, with calls under way.
    """

    def __init__(
        self,
        name: str,
        bill: Bill,
        draw: random.Random,
        *,
        worst_usd: Sequence[float] = (0.01,),
        shares: Sequence[float] = (0.0, 0.2, 0.7, 1.0),
        failing: float = 0.15,
        at_once: int = 4,
        pulls_again: bool = True,
        dies: bool = False,
    ) -> None:
        self.asked: list[str] = []
        self._bill = bill
        self._draw = draw
        self._worst_usd = worst_usd
        self._shares = shares
        self._failing = failing
        self._at_once = at_once
        self._pulls_again = pulls_again
        self._dies = dies
        self._info = TeacherInfo(id=f"costly:{name}", provider="fake")

    @property
    def info(self) -> TeacherInfo:
        """What answers."""
        return self._info

    @property
    def allowance(self) -> Allowance:
        """It has a price."""
        return Allowance(price=PRICE)

    def worst_cost_usd(self, request: Request) -> float:
        """Always the same for the same request."""
        return self._worst_usd[int(request.id[:8], 16) % len(self._worst_usd)]

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        """Answer everything that `pull` hands out, as an API's teacher does."""
        under_way: list[tuple[Request, float]] = []
        may_pull = True
        while True:
            if may_pull and len(under_way) < self._at_once:
                requests = pull(self._at_once - len(under_way))
                may_pull = bool(requests)
                under_way += [(request, self._charged(request)) for request in requests]
            if not under_way:
                return
            if self._dies and self._draw.random() < 0.02:
                raise DiedError("it died")
            self._draw.shuffle(under_way)
            num_ended = self._draw.randint(1, len(under_way))
            ended, under_way = under_way[:num_ended], under_way[num_ended:]
            yield [self._end(request, usd) for request, usd in ended]
            may_pull = may_pull or self._pulls_again

    def close(self) -> None:
        """Nothing to release."""

    def _charged(self, request: Request) -> float:
        usd = self.worst_cost_usd(request) * self._draw.choice(self._shares)
        self.asked.append(request.prompt_id)
        self._bill.charge(usd)
        return usd

    def _end(self, request: Request, usd: float) -> Answer:
        answer = Answer(request.id, "completion", b"{}", "stop", "m", Usage(cost_usd=usd))
        if self._draw.random() >= self._failing:
            return answer
        error = ItemError(type="cut", message="cut", retryable=True)
        # Of a broken call, the provider tells the cost or does not.
        usage = answer.usage if self._draw.random() < 0.5 else Usage()
        return replace(answer, body=b"", finish_reason="error", usage=usage, error=error)


def some_prompts(num: int, prefix: str = "p", teacher: str | None = None) -> list[Prompt]:
    return [
        Prompt(
            id=f"{prefix}{i}",
            messages=(Message(role="user", content=f"{prefix} {i}"),),
            teacher=teacher,
        )
        for i in range(num)
    ]


def attempt(
    ledger: Ledger,
    teachers: Sequence[Teacher],
    prompts: Sequence[Prompt],
    cap_usd: float | None,
    purse: Purse | None = None,
) -> None:
    """One attempt at a collection, without an artefact.

    Raises:
        BudgetExceededError: there is no room for the rest.
        TeacherError: a teacher ended.
    """
    source = PromptSource(prompts)
    survey, tally = source.survey(), Tally()
    ledger.settle_orphans()
    purse = purse or FixedPurse(cap_usd)
    askings = [
        Asking(
            Share(teacher, teacher.info.id, Sampling(), 1),
            source,
            survey,
            ledger,
            tally,
            run_key=f"run {teacher.info.id}",
            max_tries=3,
            purse=purse,
        )
        for teacher in teachers
    ]
    config = CollectConfig(max_failure_fraction=1.0)
    Run(askings, ledger, tally, None, config, purse).ask(ignore_progress)


def open_quickly(path: Path) -> Ledger:
    """A ledger that does not wait for the disk."""
    ledger = Ledger(path)
    ledger._db.rows("PRAGMA synchronous = OFF")
    return ledger
