"""How many requests may be under way at once: found out by trying, AIMD as in TCP."""

_FIRST = 4
_CUT = 0.75
_GROWTH = 0.05  # per round without trouble, at least one request
_RECOVERED = 0.9  # of the last ceiling: up to there growth is fast, for it was fine before


class Window:
    """Grows while all is well, shrinks once per episode of refusals.

    It doubles each round until the first refusal; a round is as many successes as it is wide. After
    a refusal it remembers where that happened: growth up to near there closes half the gap per
    round, beyond it is slow. Trouble of the server's own (5xx, timeouts) says nothing of how much
    is allowed, so it only stops growth for the round.

    Attributes:
        most: The configured maximum.
        size: How many may be under way now.
        num_under_way: How many are.
    """

    __slots__ = (
        "_ceiling",
        "_episode_serial",
        "_is_round_clean",
        "_most_in_round",
        "_round_left",
        "_serial",
        "most",
        "num_under_way",
        "size",
    )

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = min(_FIRST, most)
        self.num_under_way = 0
        self._ceiling: int | None = None
        self._most_in_round = 0
        self._serial = 0
        self._episode_serial = 0
        self._begin_round()

    @property
    def has_room(self) -> bool:
        """Whether one more may go."""
        return self.num_under_way < self.size

    def enter(self) -> int:
        """Count one more under way; returns its serial number."""
        self.num_under_way += 1
        self._most_in_round = max(self._most_in_round, self.num_under_way)
        self._serial += 1
        return self._serial

    def leave(self) -> None:
        """Count one less under way; one of the calls below says how it went."""
        self.num_under_way -= 1

    def succeeded(self) -> None:
        """One was answered."""
        self._round_left -= 1
        if self._round_left <= 0:
            if self._is_round_clean:
                self._grow()
            self._begin_round()

    def troubled(self) -> None:
        """One met trouble of the server's own."""
        self._is_round_clean = False

    def refused(self, serial: int, *, is_cut: bool = True) -> bool:
        """One was turned away; returns whether that began an episode, and cuts if it is for rate.

        Those sent before the last episode tell nothing new.
        """
        self._is_round_clean = False
        if serial <= self._episode_serial:
            return False
        self._episode_serial = self._serial
        if not is_cut:
            return True
        # Not `size`: where buckets hold requests back, fewer were under way than the window allows.
        self._ceiling = min(self.size, self._most_in_round)
        self.size = max(1, int(self._ceiling * _CUT))
        self._begin_round()
        return True

    def _begin_round(self) -> None:
        self._round_left = self.size
        self._is_round_clean = True
        self._most_in_round = self.num_under_way

    def _grow(self) -> None:
        size, ceiling = self.size, self._ceiling
        if ceiling is None:
            size *= 2
        elif size < _RECOVERED * ceiling:
            size += max(1, (ceiling - size) // 2)
        else:
            size += max(1, int(size * _GROWTH))
        self.size = min(self.most, size)
