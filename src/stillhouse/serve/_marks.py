"""The marks of a deployment: its own, and those of accounts that have a key of their own."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from stillhouse.serve._seen import customer_asked, note

if TYPE_CHECKING:
    from stillhouse.watermark import LogitsMark, Watermark

_MAX_KEPT = 64  # customers; each holds an array or two of the size of the vocabulary


class Marks:
    """Gives the mark of a request; use it within one event loop.

    Args:
        watermark: The deployment's.
    """

    def __init__(self, watermark: "Watermark") -> None:
        self._own = watermark
        self._kept: OrderedDict[str, Watermark] = OrderedDict()

    def of_request(self) -> "LogitsMark":
        """Of the request under way; what marks it for a customer is noted for the log."""
        customer = customer_asked()
        if not customer:
            return self._own.mark
        found = self._kept.pop(customer, None) or self._own.of_customer(customer)
        self._kept[customer] = found
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        note(watermark=found.profile_id)
        return found.mark
