"""Limits and a monitor against a copier's requests, and what they cost honest accounts.

The copier sends the field's own prompts, from each account as many a day as the limit lets through,
at all hours. Honest accounts are simulated (`stillhouse.traffic.simulate`) over the prompts of all
fields and the news of the demo; those that tell the monitor what is usual use other frames than
those that it is tried on.

Letters: A accounts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np

from stillhouse.pipeline._range._config import LimitConfig
from stillhouse.records import Prompt, Record
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.statistics import Interval, clustered_bootstrap, fraction_interval
from stillhouse.traffic import (
    CUES,
    AccessRow,
    Featuriser,
    Monitor,
    Placed,
    Reference,
    TrafficConfig,
    TrafficKey,
    compare_accounts,
    cues_in,
    read_table,
)
from stillhouse.traffic.simulate import HALVES, Area, Cast, Half, Pool, Simulator

_LEAST_TEXTS = 20  # of an area; smaller groups go together
_LOOKS = 5_000  # requests between two looks at the progress
_STEPS = 1 << list(CUES).index("steps") | 1 << list(CUES).index("reasoning")


class Attempt(Record):
    """What a copier got past a limit.

    Attributes:
        collected: Requests that were answered, at most as many as there are prompts.
        num_flagged: Accounts that were cut off.
        log10_p: Of the copier's accounts beside usual ones, over the whole log; None where nobody
            watched.
        refused: Share of honest requests that were not answered, by accounts.
    """

    collected: int
    num_flagged: int
    log10_p: float | None
    refused: Interval


class Asked(NamedTuple):
    """What honest requests ask for.

    Attributes:
        logprobs: Share that asks for log-probabilities.
        reasoning: Share that asks for the steps of an answer.
    """

    logprobs: Interval
    reasoning: Interval


@dataclass(frozen=True)
class Honest:
    """The honest accounts of a range, the same for a seed.

    Attributes:
        prompts: What is asked, by sort.
        num_accounts: That pay for a limit.
        num_reference: That tell what is usual.
        reference_requests: Of each of those.
        key: What requests are hashed under.
        seed: Of the simulation.
    """

    prompts: Mapping[str, Sequence[Prompt]]
    num_accounts: int
    num_reference: int
    reference_requests: int
    key: TrafficKey
    seed: int

    @cached_property
    def rows(self) -> list[AccessRow]:
        """What honest accounts send in 14 days, in the order of time."""
        simulated = self._simulator("test")
        return [one.row for one in simulated.sent(simulated.benign(self.num_accounts))]

    @cached_property
    def reference(self) -> Reference:
        """What is usual."""
        simulated = self._simulator("fit")
        accounts = simulated.benign(self.num_reference, num_requests=self.reference_requests)
        table = read_table((one.row for one in simulated.sent(accounts)), Featuriser(self.key))
        return Reference.fit(table, self.key.key_id)

    def asked(self) -> Asked:
        """What honest requests ask for beside an answer."""
        return Asked(
            logprobs=self._share([row.logprobs for row in self.rows]),
            reasoning=self._share([bool(cues_in(row.prompt or "") & _STEPS) for row in self.rows]),
        )

    def attempt(
        self,
        prompts: Sequence[Prompt],
        limit: LimitConfig,
        *,
        accounts: int,
        asks_logprobs: bool,
        completion_tokens: int,
        on_progress: Listener = ignore_progress,
    ) -> Attempt:
        """Send a copier's requests through a limit, among those of honest accounts.

        Args:
            prompts: That the copier wants answered.
            limit: What stops it.
            accounts: That it has.
            asks_logprobs: Whether its requests ask for log-probabilities.
            completion_tokens: Of each answer that it gets.
            on_progress: Told about requests.
        """
        like = self.rows[0].model_copy(
            update={"logprobs": asks_logprobs, "completion_tokens": completion_tokens}
        )
        sent = _sent(prompts, limit, accounts, like, seed=self.seed)
        names = {row.account for row in sent}
        merged = sorted([*self.rows, *sent], key=lambda row: row.at)
        outcome = self._through(merged, limit, on_progress)
        answered = [row for row, is_answered in outcome.rows if is_answered]
        collected = sum(row.account in names for row in answered)
        return Attempt(
            collected=collected,
            num_flagged=len(outcome.flagged & names),
            log10_p=self._log10_p(merged, names) if limit.watch else None,
            refused=self._share(
                [not done for row, done in outcome.rows if row.account not in names]
            ),
        )

    def _through(
        self, rows: Sequence[AccessRow], limit: LimitConfig, on_progress: Listener
    ) -> "_Outcome":
        config = TrafficConfig(live_level=limit.level)
        monitor = Monitor(self.reference, self.key, config=config) if limit.watch else None
        ticker = Ticker(on_progress, stage="traffic", total=len(rows), unit="requests")
        sent_by_day: dict[tuple[str, str], int] = {}
        flagged: set[str] = set()
        found = []
        for number, row in enumerate(rows, start=1):
            day = (row.account, row.at.astimezone(UTC).date().isoformat())
            sent_by_day[day] = sent_by_day.get(day, 0) + 1
            is_answered = row.account not in flagged and sent_by_day[day] <= limit.per_day
            if monitor is not None and monitor.add(row)[1] is not None:
                flagged.add(row.account)  # from its next request on
            found.append((row, is_answered))
            if number % _LOOKS == 0 or number == len(rows):
                ticker.advance(number - (number - 1) // _LOOKS * _LOOKS)
        return _Outcome(found, flagged)

    def _log10_p(self, rows: Sequence[AccessRow], names: Iterable[str]) -> float:
        """The smallest p-value of the copier's accounts, corrected for their number.

        By themselves or by the best cluster that they are in, which counts twice.
        """
        table = read_table(rows, Featuriser(self.key))
        placed = Placed.on(self.reference.content_map, table)
        evidence = compare_accounts(placed, self.reference)
        pseudonyms = {self.key.account(name) for name in names}
        mine = np.array([name in pseudonyms for name in table.accounts])
        alone = float(evidence.window_p_A[mine].min()) * int(mine.sum())
        together = float(evidence.of_best(evidence.cluster_p_C)[mine].min())
        return float(np.log10(min(1.0, 2 * min(alone, together))))

    def _share(self, is_so: Sequence[bool]) -> Interval:
        """Of honest requests, with accounts drawn as wholes."""
        accounts, place_N = np.unique([row.account for row in self.rows], return_inverse=True)
        hits_A = np.bincount(place_N, weights=np.asarray(is_so, float), minlength=len(accounts))
        sizes_A = np.bincount(place_N, minlength=len(accounts)).astype(float)
        if not hits_A.any():  # resampling nothing would claim certainty
            return fraction_interval(0, len(accounts))
        return clustered_bootstrap(
            hits_A, sizes_A, clusters=np.arange(len(accounts)), seed=self.seed
        )

    def _simulator(self, half: Half) -> Simulator:
        rng = np.random.default_rng([self.seed, list(HALVES).index(half)])
        return Simulator(Cast(Pool(areas_of(self.prompts), rng), HALVES[half], rng))


@dataclass(frozen=True)
class _Outcome:
    rows: list[tuple[AccessRow, bool]]
    flagged: set[str]


def areas_of(prompts: Mapping[str, Sequence[Prompt]]) -> dict[str, Area]:
    """Prompts by field and group, for the simulator; small groups of a field go together."""
    found: dict[str, Area] = {}
    for name, some in prompts.items():
        groups: dict[str, list[str]] = {}
        for prompt in some:
            groups.setdefault(prompt.group or "all", []).append(prompt.messages[-1].content)
        texts: dict[str, list[str]] = {}
        for group, those in groups.items():
            whole = group if len(those) >= _LEAST_TEXTS else "others"
            texts.setdefault(whole, []).extend(those)
        found |= {f"{name}/{group}": Area(name, those) for group, those in sorted(texts.items())}
    return found


def _sent(
    prompts: Sequence[Prompt],
    limit: LimitConfig,
    accounts: int,
    like: AccessRow,
    *,
    seed: int,
) -> list[AccessRow]:
    """The copier's requests: of each account as many a day as pass, at any time of it.

    The first day is that of `like`, whose other fields they share.
    """
    rng = np.random.default_rng([seed, accounts, limit.per_day, limit.days])
    midnight = like.at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = []
    for account in range(accounts):
        mine = prompts[account::accounts][: limit.per_day * limit.days]
        for number, prompt in enumerate(mine):
            begin = midnight + timedelta(days=number // limit.per_day)
            at = begin + timedelta(seconds=float(rng.uniform(0, 86_399)))
            rows.append(
                like.model_copy(
                    update={
                        "id": f"copier-{account}-{number}",
                        "at": at,
                        "account": f"copier-{account}",
                        "prompt": prompt.messages[-1].content,
                    }
                )
            )
    return rows
