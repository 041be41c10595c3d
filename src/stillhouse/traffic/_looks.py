"""When an account is looked at, and which of its requests are looked at then."""

from collections.abc import Iterator

from stillhouse.traffic._windows import Indices

LOOKS = (20, 50, 100, 200, 500)
"""An account is looked at when it has sent so many requests, and after every further 500."""
MAX_WINDOW = LOOKS[-1]


def is_look(num_requests: int) -> bool:
    """Whether an account that has sent so many is looked at."""
    return num_requests in LOOKS or (num_requests > 0 and num_requests % MAX_WINDOW == 0)


def looks_of(requests_M: Indices) -> Iterator[tuple[int, Indices]]:
    """The windows of an account: how long each is, and its requests.

    Args:
        requests_M: All requests of the account, in the order of time.
    """
    for length in LOOKS:
        if len(requests_M) >= length:
            yield length, requests_M[:length]
    for end in range(2 * MAX_WINDOW, len(requests_M) + 1, MAX_WINDOW):
        yield MAX_WINDOW, requests_M[end - MAX_WINDOW : end]
