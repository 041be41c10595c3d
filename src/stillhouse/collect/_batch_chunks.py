"""What goes into the next batch: as much as the provider allows."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stillhouse.collect._asking import Asking
from stillhouse.collect._config import AccessConfig
from stillhouse.collect._shares import without_price
from stillhouse.errors import RecordError
from stillhouse.records import ItemError, Request

if TYPE_CHECKING:
    from stillhouse.teachers._batch._client import BatchClient

_MOST_BYTES = 256_000_000  # of requests, which are in memory until they are claimed
_FRAME_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Sized:
    """A request that can be sent in a batch.

    Attributes:
        request: Not claimed yet.
        num_bytes: What it takes there.
        worst_usd: The most that it can cost; 0 where no cost is counted.
    """

    request: Request
    num_bytes: int
    worst_usd: float


class Chunks:
    """Reads requests and hands them out in chunks that fit into one batch, not claimed yet.

    Args:
        asking: What is to be asked.
        client: Tells what a request takes, and costs at most.
        access: Sizes.
        taken: Ids of requests that are in batches already.
    """

    def __init__(
        self, asking: Asking, client: "BatchClient", access: AccessConfig, taken: set[str]
    ) -> None:
        self._asking = asking
        self._client = client
        self._taken = taken
        self._most_requests = min(client.limits.num_requests, access.batch_size or 1 << 40)
        self._most_bytes = min(client.limits.num_bytes, _MOST_BYTES) - _FRAME_BYTES
        self._read: deque[Request] = deque()
        self._next: deque[Sized] = deque()

    @property
    def is_between(self) -> bool:
        """Whether nothing is read that was not handed out."""
        return not (self._read or self._next)

    def take(self) -> list[Sized]:
        """The next requests; none where nothing is left.

        Raises:
            ConfigError: there is a budget and no price.
        """
        bytes_left = self._most_bytes
        chunk: list[Sized] = []
        while len(chunk) < self._most_requests:
            sized = self._peek(self._most_requests - len(chunk))
            if sized is None or sized.num_bytes > bytes_left:
                break
            chunk.append(self._next.popleft())
            bytes_left -= sized.num_bytes
        return chunk

    def put_back(self, chunk: Sequence[Sized], requests: Sequence[Request]) -> None:
        """Hand these of a chunk out again first, in their order."""
        ids = {request.id for request in requests}
        self._next.extendleft(reversed([one for one in chunk if one.request.id in ids]))

    def _peek(self, num_wanted: int) -> Sized | None:
        """The next request that is in no batch yet, None when there are no more."""
        while not self._next:
            while not self._read:
                group = self._asking.read_requests(num_wanted)
                if not group:
                    return None
                self._read.extend(request for request in group if request.id not in self._taken)
            sized = self._size(self._read.popleft())
            if sized is not None:
                self._next.append(sized)
        return self._next[0]

    def _size(self, request: Request) -> Sized | None:
        """What a request takes; None where it cannot be sent, which is then written down."""
        try:
            num_bytes = self._client.num_bytes(request)
        except (RecordError, TypeError) as err:
            error = ItemError(type="bad_request", message=str(err))
        else:
            if num_bytes <= self._most_bytes:
                return Sized(request, num_bytes, self._worst_usd(request))
            error = ItemError(type="too_large", message=f"{num_bytes} bytes fit into no batch")
        self._asking.refuse(request, self._client.failed(request.id, error))
        return None

    def _worst_usd(self, request: Request) -> float:
        if not self._asking.reserves_cost:
            return 0.0
        worst_usd = self._client.worst_cost_usd(request)
        if worst_usd is None:
            raise without_price(request.teacher)
        return worst_usd
