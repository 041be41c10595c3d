"""The prompts of a collection in pieces: what one worker is handed at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from stillhouse.collect._shares import Share
from stillhouse.collect._source import PromptSource
from stillhouse.collect._survey import Survey
from stillhouse.records import Prompt, Request
from stillhouse.runlog import Ledger


@dataclass(frozen=True)
class Shard:
    """Prompts that stand together, and what of them is to be asked.

    Attributes:
        prompts: Each has a request that is to be asked.
        known: Ids of requests that are not: answered, or in an earlier shard.
        num_left: Requests that are, by the teacher's name.
    """

    prompts: Sequence[Prompt]
    known: frozenset[str]
    num_left: Mapping[str, int]

    @property
    def num_requests(self) -> int:
        """Requests to ask, of all teachers."""
        return sum(self.num_left.values())


@dataclass(frozen=True)
class RestOfShare(Share):
    """What one teacher is asked of a shard.

    Attributes:
        shard: The shard.
    """

    shard: Shard

    def requests_for(self, prompt: Prompt) -> list[Request]:
        """One request per sample that is to be asked."""
        return [one for one in super().requests_for(prompt) if one.id not in self.shard.known]

    def num_requests(self, survey: Survey) -> int:
        """All that are to be asked."""
        return self.shard.num_left[self.name]


class ShardMaker:
    """Cuts prompts into shards of what the ledger has no answer to.

    Args:
        shares: What is asked of whom.
        ledger: Where the answers are.
        may_repeat: Whether rows that are not equal may ask a teacher the same.
    """

    def __init__(self, shares: Sequence[Share], ledger: Ledger, *, may_repeat: bool) -> None:
        self._shares = shares
        self._ledger = ledger
        self._seen: set[str] | None = set() if may_repeat else None

    def cut(self, source: PromptSource, survey: Survey, size: int) -> Iterator[tuple[int, Shard]]:
        """The shards in the order of the prompts, each with how many requests of it are known."""
        rows = (row.prompt for row in source.iterate(survey))
        while prompts := list(islice(rows, size)):
            yield self._shard(prompts, self._seen or frozenset())

    def rest_of(self, shard: Shard) -> tuple[int, Shard]:
        """What a worker that is gone has left of its shard, its ledger being merged."""
        return self._shard(shard.prompts, shard.known)

    def _shard(self, prompts: Sequence[Prompt], elsewhere: AbstractSet[str]) -> tuple[int, Shard]:
        rows = [
            [(share.name, one.id) for share in self._shares for one in share.requests_for(prompt)]
            for prompt in prompts
        ]
        ids = {id_ for row in rows for _, id_ in row}
        known = self._ledger.answered_ids(ids) | (ids & elsewhere)
        if self._seen is not None:
            self._seen |= ids
        left = Counter({share.name: 0 for share in self._shares})
        kept: list[Prompt] = []
        for prompt, row in zip(prompts, rows, strict=True):
            names = [name for name, id_ in row if id_ not in known]
            left.update(names)
            if names:
                kept.append(prompt)
        num_known = sum(map(len, rows)) - left.total()
        return num_known, Shard(kept, frozenset(known), left)
