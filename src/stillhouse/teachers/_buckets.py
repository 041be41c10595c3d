"""Token buckets: what an account lets through per window, in requests and in tokens.

A bucket is a belief about a counter that somebody else keeps. It starts full, refills steadily,
and every answer's headers correct it.
"""

from dataclasses import dataclass

from stillhouse.teachers._dialects._protocol import BucketName, LimitReading

_MINUTE_S = 60.0
# Windows that providers use: xAI limits per second, free tiers of OpenAI and Groq per day.
_WINDOWS_S = (1.0, _MINUTE_S, 3_600.0, 86_400.0)
_WINDOW_TOLERANCE = 0.2  # resets are rounded, to whole seconds at the worst
# Answers of one burst cross on the wire, and prompts are counted by estimate: a level that is kept
# costs no throughput, and 2 % of a minute is 1.2 s of such disorder.
_MARGIN_FRACTION = 0.02
_GAIN = (
    0.1  # requests of one burst arrive in another order than they left; 1.0 gives 0.7 % refusals
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a bucket held when a request was admitted, to compare with a later reading.

    Attributes:
        level: After the request was taken.
        corrected: Sum of all corrections until then.
    """

    level: float
    corrected: float


class Bucket:
    """One counter of an account.

    Attributes:
        name: What is counted.
        limit: How much may pass per `window_s`, which is also how much may pass at once.
        window_s: Over how long.
        level: What may pass now; below zero when more passed than was believed.
        counts_longest: Whether the longest completion allowed is counted and never given back, as
            some providers do, and not what was written.
        error: By how much readings differed lately; the smaller, the better it fits the provider.
    """

    __slots__ = (
        "_at_s",
        "_corrected",
        "_seen_window_s",
        "counts_longest",
        "error",
        "level",
        "limit",
        "name",
        "window_s",
    )

    def __init__(
        self, name: BucketName, limit: float, now_s: float, *, counts_longest: bool = False
    ) -> None:
        self.name = name
        self.limit = limit
        self.window_s = _MINUTE_S
        self.counts_longest = counts_longest
        self.error = 0.0
        self.level = limit
        self._at_s = now_s
        self._corrected = 0.0
        self._seen_window_s = 0.0

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until `amount` may pass, 0 for now; more than the limit counts as the limit."""
        self._refill(now_s)
        margin = _MARGIN_FRACTION * self.limit
        missing = min(amount, self.limit - margin) + margin - self.level
        return 0.0 if missing <= 0.0 else missing * self.window_s / self.limit

    def take(self, amount: float) -> Mark:
        """Let `amount` pass."""
        self.level -= amount
        return Mark(self.level, self._corrected)

    def give_back(self, amount: float) -> None:
        """Return what was taken too much; a negative amount takes what was taken too little."""
        self.level = min(self.limit, self.level + amount)

    def drain(self, now_s: float) -> None:
        """Believe that nothing is left, after a refusal that does not say how much is."""
        self._refill(now_s)
        if self.level > 0.0:
            self._correct(-self.level)

    def read(
        self, reading: LimitReading, mark: Mark, now_s: float, *, is_certain: bool = False
    ) -> None:
        """Take over what headers say.

        Some providers report the counter as it was when the request came in, others as it is when
        the answer leaves. So a reading is compared with both beliefs, and the nearer one counts:
        what was admitted in between is not mistaken for a difference.

        Args:
            reading: What the headers say.
            mark: What `take` returned for the request that they answer.
            now_s: The time.
            is_certain: Take it over as it is; otherwise only in part, for readings are noisy.
        """
        self._refill(now_s)
        if reading.limit is not None and reading.limit > 0.0 and reading.limit != self.limit:
            self._resize(reading.limit)
        self._learn_window(reading)
        if reading.remaining is None:
            return
        believed_then = mark.level + self._corrected - mark.corrected
        off = min(reading.remaining - self.level, reading.remaining - believed_then, key=abs)
        self.error += _GAIN * (abs(off) - self.error)
        self._correct(off if is_certain else _GAIN * off)

    def _refill(self, now_s: float) -> None:
        passed_s = now_s - self._at_s
        if passed_s > 0.0:
            self._at_s = now_s
            self.level = min(self.limit, self.level + passed_s * self.limit / self.window_s)

    def _resize(self, limit: float) -> None:
        # What was used stays used: a limit that is halved under way leaves less, or a debt.
        change = limit - self.limit
        self.limit = limit
        self._correct(change)

    def _correct(self, amount: float) -> None:
        self.level = min(self.limit, self.level + amount)
        self._corrected += amount

    def _learn_window(self, reading: LimitReading) -> None:
        """Read the window off a reset time, once two answers in a row agree."""
        if reading.remaining is None or not reading.reset_s or reading.remaining >= self.limit:
            return
        implied_s = reading.reset_s * self.limit / (self.limit - reading.remaining)
        for window_s in _WINDOWS_S:
            if abs(implied_s - window_s) <= _WINDOW_TOLERANCE * window_s:
                if window_s == self._seen_window_s:
                    self.window_s = window_s
                self._seen_window_s = window_s
                return
        self._seen_window_s = 0.0
