"""A token bucket: how much may be had at once, and how fast more comes."""


class Bucket:
    """Full at first.

    Args:
        per_minute: What it gets back in a minute; it holds as much, and 1 at least.
        now_s: By any clock that does not go back.
    """

    __slots__ = ("_at_s", "_level", "_most", "_per_s")

    def __init__(self, per_minute: float, now_s: float) -> None:
        self._per_s = per_minute / 60
        self._most = self._level = max(1.0, per_minute)
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take 1; else how many seconds until there is one, and nothing is taken."""
        self._level = min(self._most, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        # What was added up in parts may lack the last digit of a whole.
        if self._level >= 1 - 1e-9:
            self._level -= 1
            return 0.0
        return (1 - self._level) / self._per_s

    def owe(self, amount: float) -> None:
        """Take what is not there yet; later ones wait for it."""
        self._level -= amount
