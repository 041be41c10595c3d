"""What goes into the next batch: as much as the provider and the budget allow."""

from collections import deque
from typing import TYPE_CHECKING

from stillhouse.collect._asking import Asking
from stillhouse.collect._config import AccessConfig
from stillhouse.errors import BudgetExceededError, ConfigError, RecordError
from stillhouse.records import ItemError, Request
from stillhouse.runlog import Ledger

if TYPE_CHECKING:
    from stillhouse.teachers._batch._client import BatchClient

_MOST_BYTES = 256_000_000  # of requests, which are in memory until they are claimed
_FRAME_BYTES = 1024
_ROUNDING_USD = 1e-9


class Chunks:
    """Reads requests and hands them out in chunks that fit into one batch, not claimed yet.

    Args:
        asking: What is to be asked.
        client: Tells what a request takes, and costs at most.
        ledger: Tells what is spent.
        access: Sizes and budget.
        taken: Ids of requests that are in batches already.
    """

    def __init__(
        self,
        asking: Asking,
        client: "BatchClient",
        ledger: Ledger,
        access: AccessConfig,
        taken: set[str],
    ) -> None:
        self._asking = asking
        self._client = client
        self._ledger = ledger
        self._access = access
        self._taken = taken
        self._most_requests = min(client.limits.num_requests, access.batch_size or 1 << 40)
        self._most_bytes = min(client.limits.num_bytes, _MOST_BYTES) - _FRAME_BYTES
        self._next: deque[Request] = deque()

    @property
    def is_between(self) -> bool:
        """Whether nothing is read that was not handed out."""
        return not self._next

    def take(self, *, may_wait_for_money: bool) -> tuple[list[Request], list[float]]:
        """The next requests and the most that each can cost; none where nothing fits, or is left.

        Args:
            may_wait_for_money: Whether something is under way that may give back budget.

        Raises:
            BudgetExceededError: the next request could cross the budget whatever is given back.
            ConfigError: there is a budget and no price.
        """
        bytes_left, usd_left = self._most_bytes, self._usd_left()
        chunk: list[Request] = []
        reserves: list[float] = []
        while len(chunk) < self._most_requests:
            request = self._peek(self._most_requests - len(chunk))
            if request is None:
                break
            num_bytes = self._num_bytes(request)
            if num_bytes is None:
                self._next.popleft()
                continue
            worst_usd = self._worst_usd(request)
            if num_bytes > bytes_left or worst_usd > usd_left:
                break
            chunk.append(self._next.popleft())
            reserves.append(worst_usd)
            bytes_left -= num_bytes
            usd_left -= worst_usd
        if self._next and not chunk and not may_wait_for_money:
            raise self._too_dear(self._next[0], usd_left)
        return chunk, reserves

    def _peek(self, num_wanted: int) -> Request | None:
        """The next request that is in no batch yet, None when there are no more."""
        while not self._next:
            group = self._asking.read_requests(num_wanted)
            if not group:
                return None
            self._next.extend(request for request in group if request.id not in self._taken)
        return self._next[0]

    def _num_bytes(self, request: Request) -> int | None:
        """What a request takes; None where it cannot be sent, which is then written down."""
        try:
            num_bytes = self._client.num_bytes(request)
        except (RecordError, TypeError) as err:
            error = ItemError(type="bad_request", message=str(err))
        else:
            if num_bytes <= self._most_bytes:
                return num_bytes
            error = ItemError(type="too_large", message=f"{num_bytes} bytes fit into no batch")
        self._asking.refuse(request, self._client.failed(request.id, error))
        return None

    def _usd_left(self) -> float:
        """What the ledger leaves of the budget: it knows what is spent and what is under way."""
        cap_usd = self._access.budget_usd
        if cap_usd is None:
            return float("inf")
        totals = self._ledger.totals()
        return cap_usd - (totals.cost_usd or 0.0) - totals.unsettled_usd - _ROUNDING_USD

    def _worst_usd(self, request: Request) -> float:
        if not self._asking.reserves_cost:
            return 0.0
        worst_usd = self._client.worst_cost_usd(request)
        if worst_usd is None:
            raise ConfigError(
                f"A budget is set, but the price of {request.teacher} is unknown. Give its price, "
                "or run without a budget."
            )
        return worst_usd

    def _too_dear(self, request: Request, usd_left: float) -> BudgetExceededError:
        return BudgetExceededError(
            f"The next request may cost {self._worst_usd(request):.6f} USD, but of the budget of "
            f"{self._access.budget_usd:g} USD only {max(usd_left, 0.0):.6f} are neither spent nor "
            "set aside. Raise the budget, or lower sampling.max_tokens; what was answered is kept."
        )
