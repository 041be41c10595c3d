"""Simulated traffic with labels: who asked what, when, and whether it was extraction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from stillhouse.traffic._rows import AccessRow
from stillhouse.traffic.simulate._frames import Manner
from stillhouse.traffic.simulate._persons import Cast, Person, extractor

Floats = npt.NDArray[np.float64]

DAY_S = 86_400.0
_BEGIN_S = 1_780_272_000.0  # 2026-06-01, a Monday
_RELEASE_DAY = 7.0
_ADOPTION_DAYS = 20.0  # benign accounts turn to a new model with this mean delay
_MODELS = ("still-1", "still-2")


@dataclass(frozen=True)
class Sent:
    """One simulated request.

    Attributes:
        row: As a log has it.
        is_extraction: The label.
    """

    row: AccessRow
    is_extraction: bool


@dataclass(frozen=True)
class Account:
    """One simulated account.

    Attributes:
        name: In rows.
        kind: `person`, `application`, `learner`, `reseller`, `tester`, or what extracts: `single`,
            `mixed`, `hydra`.
        num: Requests.
        person: Whose ordinary requests they are; None for none.
        campaign: Whose extraction; None for none.
        share: Of requests that are extraction.
        days: First and last day, from the beginning.
    """

    name: str
    kind: str
    num: int
    person: Person | None = None
    campaign: Person | None = None
    share: float = 0.0
    days: tuple[float, float] = (0.0, 14.0)


class Simulator:
    """Makes accounts of one half of prompts and phrases, and what they send.

    Everything follows from the seed of `rng`, in the order in which it is asked for.
    """

    def __init__(self, cast: Cast) -> None:
        self.cast, self.rng, self.pool = cast, cast.rng, cast.pool
        self._num = 0

    def benign(self, num_accounts: int, *, num_requests: int | None = None) -> list[Account]:
        """Benign accounts; sizes are skewed (median 25), or all the same."""
        accounts = []
        for _ in range(num_accounts):
            person = self.cast.one()
            num = num_requests
            if num is None:
                num = int(np.clip(np.exp(self.rng.normal(3.2, 1.0)), 3, 600))
            accounts.append(Account(self._name(), person.kind, num, person))
        return accounts

    def mixed(self, num_accounts: int, *, num_requests: int, share: float) -> list[Account]:
        """Accounts whose extraction hides in ordinary requests; share 1 hides nothing."""
        return [
            Account(
                self._name(),
                "single" if share == 1 else "mixed",
                num_requests,
                None if share == 1 else self.cast.one(),
                self._campaign(),
                share,
            )
            for _ in range(num_accounts)
        ]

    def hydra(
        self,
        num_accounts: int,
        *,
        num_requests: int,
        share: float,
        days: float = 7.0,
        manner: Manner = "open",
    ) -> list[Account]:
        """One campaign over many accounts, each with ordinary requests of its own as a cover."""
        campaign = self._campaign(manner)
        begin = float(self.rng.uniform(0.0, 14.0 - days))
        return [
            Account(
                self._name(),
                "hydra",
                max(3, int(self.rng.normal(num_requests, num_requests * 0.1))),
                self.cast.one(),
                campaign,
                share,
                (begin, begin + days),
            )
            for _ in range(num_accounts)
        ]

    def sent(self, accounts: Sequence[Account]) -> list[Sent]:
        """All that accounts send, in the order of time."""
        found = [one for account in accounts for one in self._sent_by(account)]
        found.sort(key=lambda one: one.row.at)
        return found

    def _campaign(self, manner: Manner = "open") -> Person:
        return extractor(self.pool, self.cast.phrases, self.rng, manner)

    def _name(self) -> str:
        self._num += 1
        return f"account-{self._num:06d}"

    def _sent_by(self, account: Account) -> list[Sent]:
        num_bad = int(self.rng.binomial(account.num, account.share)) if account.campaign else 0
        sent: list[Sent] = []
        for person, num, is_bad in (
            (account.person, account.num - num_bad, False),
            (account.campaign, num_bad, True),
        ):
            if person is None or not num:
                continue
            times_s = _times(self.rng, num, account.days, person.is_machine)
            delay = 0.5 if is_bad else float(self.rng.exponential(_ADOPTION_DAYS))
            switch_s = _BEGIN_S + (_RELEASE_DAY + delay) * DAY_S
            odds = np.array([task.weight for task in person.tasks])
            picks = self.rng.choice(len(person.tasks), num, p=odds / odds.sum())
            for time_s, pick in zip(times_s.tolist(), picks.tolist(), strict=True):
                task = person.tasks[pick]
                frame = task.frames[int(self.rng.integers(len(task.frames)))]
                text = self.pool.draw(task.areas[int(self.rng.integers(len(task.areas)))])
                length = task.completion_tokens * float(np.exp(self.rng.normal(0, 0.5)))
                row = AccessRow(
                    id=f"{account.name}-{len(sent)}",
                    at=datetime.fromtimestamp(time_s, UTC),
                    account=account.name,
                    prompt=frame.replace("{}", text),
                    model=_MODELS[time_s >= switch_s],
                    prompt_tokens=len(text) // 4,
                    completion_tokens=int(length),
                    logprobs=bool(self.rng.random() < task.logprobs),
                )
                sent.append(Sent(row, is_bad))
        return sent


def _times(
    rng: np.random.Generator, num: int, days: tuple[float, float], is_machine: bool
) -> Floats:
    """Seconds since 1970: bursts at daytime for people, all hours for machines."""
    first, last = days
    if is_machine:
        times = np.sort(rng.uniform(first, last, num))
        return _BEGIN_S + times * DAY_S
    num_bursts = max(1, int(rng.poisson(num / 6)))
    zone = rng.uniform(0, 1)
    day = np.floor(rng.uniform(first, last, num_bursts))
    starts = day + (zone + np.clip(rng.normal(0.5, 0.12, num_bursts), 0.2, 0.95)) % 1.0
    starts = np.clip(starts, first, last)
    within = rng.exponential(90.0, num).cumsum() % 3600.0
    times = starts[rng.integers(num_bursts, size=num)] * DAY_S + within
    return _BEGIN_S + np.sort(times)


def labels(accounts: Sequence[Account]) -> dict[str, str]:
    """The kind of each account."""
    return {account.name: account.kind for account in accounts}
