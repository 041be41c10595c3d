"""Equal requests are samples of one: which number the next of them gets."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from stillhouse.records import Request
from stillhouse.runlog._ledger import Ledger

Sample = Callable[[int], Request]
"""One request, by the number that tells it from its equals."""

_MOST_KNOWN = 10_000  # requests whose samples are held; those of others are looked up again
_DOUBLINGS = 24


@dataclass(slots=True)
class _Samples:
    """The samples of one request.

    Attributes:
        first_free: All below are answered.
        answered: Answered ones from there on.
        under_way: Those that are being asked.
    """

    first_free: int
    answered: set[int] = field(default_factory=set)
    under_way: set[int] = field(default_factory=set)

    def take(self) -> int:
        index = self.first_free
        while index in self.answered or index in self.under_way:
            index += 1
        self.under_way.add(index)
        return index

    def give_back(self, index: int, *, is_answered: bool) -> None:
        self.under_way.discard(index)
        if is_answered:
            self.answered.add(index)
        while self.first_free in self.answered:
            self.answered.remove(self.first_free)
            self.first_free += 1


class Numbering:
    """Gives equal requests different sample indices, counted on from what a ledger holds.

    A sample that failed is free again, so that a request which is repeated after an error is
    another attempt at the same sample.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._samples: OrderedDict[str, _Samples] = OrderedDict()
        self._keys: dict[str, str] = {}

    def take(self, sample: Sample) -> Request:
        """The request, with a number that no other has which is answered or under way."""
        first = sample(0)
        samples = self._samples.get(first.id)
        if samples is None:
            samples = _Samples(self._num_answered(sample, first))
            self._samples[first.id] = samples
            self._forget_some()
        self._samples.move_to_end(first.id)
        index = samples.take()
        request = first if index == 0 else sample(index)
        self._keys[request.id] = first.id
        return request

    def give_back(self, request: Request, *, is_answered: bool) -> None:
        """Say how a request ended that `take` gave, or that another had it answered before."""
        samples = self._samples[self._keys.pop(request.id)]
        samples.give_back(request.sample_index, is_answered=is_answered)

    def _num_answered(self, sample: Sample, first: Request) -> int:
        """How many samples are answered, in few looks: they are numbered without gaps."""

        def is_answered(index: int) -> bool:
            return bool(self._ledger.answered_ids([sample(index).id]))

        if not self._ledger.answered_ids([first.id]):
            return 0
        exponent = next((n for n in range(_DOUBLINGS) if not is_answered(1 << n)), _DOUBLINGS)
        answered, free = (1 << exponent) >> 1, 1 << exponent
        while free - answered > 1:
            middle = (answered + free) // 2
            answered, free = (middle, free) if is_answered(middle) else (answered, middle)
        return free

    def _forget_some(self) -> None:
        """Forget the requests that were not asked for longest, once there are too many."""
        while len(self._samples) > _MOST_KNOWN:
            key = next((k for k, each in self._samples.items() if not each.under_way), None)
            if key is None:
                return
            del self._samples[key]
