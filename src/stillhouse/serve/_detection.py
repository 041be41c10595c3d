"""Whether a text bears this deployment's mark, told so that the answer helps nobody to forge it.

A p-value for each try would show, word by word, what the mark likes. So there are few tries for a
key, and what is told is the next larger power of ten, never below a floor, and no score.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stillhouse.serve._ask import Answering, Engine, RefusedError, no_pieces
from stillhouse.serve._fields import wrong
from stillhouse.serve._seen import Seen

if TYPE_CHECKING:
    from stillhouse.chat import PlainTextTokenizer
    from stillhouse.watermark import Profile, Watermark, WatermarkKey

FLOOR = -6
"""Log10 of the smallest p-value that is told."""

_WINDOW_S = 60.0
_MAX_CALLERS = 10_000


class Detector:
    """Tests texts for the mark of a profile.

    Args:
        profile: That marks what is served.
        key: Its key.
        tokenizer: Of the student.
        per_minute: Texts that one caller may have tested in a minute.
        clock: Seconds.
    """

    def __init__(
        self,
        profile: "Profile",
        key: "WatermarkKey",
        tokenizer: "PlainTextTokenizer",
        *,
        per_minute: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._profile = profile
        self._key = key
        self._tokenizer = tokenizer
        self._per_minute = per_minute
        self._clock = clock
        self._asked_s: OrderedDict[str, list[float]] = OrderedDict()

    @property
    def profile_id(self) -> str:
        """Which mark it looks for."""
        return self._profile.profile_id

    def admit(self, caller: str) -> None:
        """Count a try of a caller.

        Raises:
            RefusedError: they have had as many as a minute allows.
        """
        now_s = self._clock()
        recent = [s for s in self._asked_s.pop(caller, []) if now_s - s < _WINDOW_S]
        self._asked_s[caller] = recent
        if len(self._asked_s) > _MAX_CALLERS:
            self._asked_s.popitem(last=False)
        if len(recent) >= self._per_minute:
            wait_s = max(1, math.ceil(recent[0] + _WINDOW_S - now_s))
            raise RefusedError(
                429,
                f"{self._per_minute} texts a minute are tested. Come again in {wait_s} s.",
                retry_after_s=wait_s,
            )
        recent.append(now_s)

    def log10_p(self, text: str) -> tuple[int, int]:
        """The p-value as a power of ten, rounded up, and how many tokens the text has."""
        from stillhouse.watermark import detect

        (ids,) = self._tokenizer.ids([text])
        found = detect(ids, self._profile, self._key)
        return min(0, max(FLOOR, math.ceil(found.log10_p))), len(ids)


@runtime_checkable
class DetectingEngine(Protocol):
    """An engine that may test texts for its mark."""

    detector: Detector | None


def detector_of(engine: Engine) -> Detector | None:
    """What tests texts; None where nothing does."""
    return engine.detector if isinstance(engine, DetectingEngine) else None


def open_detector(watermark: "Watermark", model_folder: Path, *, per_minute: int) -> Detector:
    """What tests texts for the mark of a deployment.

    Args:
        watermark: What marks there.
        model_folder: Of the student, whose tokenizer reads the texts.
        per_minute: Texts that one caller may have tested in a minute.

    Raises:
        ConfigError: there is no tokenizer, or another than the profile is for.
        MissingDependencyError: `tokenizers` is not installed.
    """
    from stillhouse.chat import PlainTextTokenizer

    tokenizer = PlainTextTokenizer(model_folder)
    watermark.check_tokenizer(tokenizer.sha256)
    return Detector(watermark.profile, watermark.key, tokenizer, per_minute=per_minute)


async def detected(fields: dict[str, Any], engine: Engine, seen: Seen) -> dict[str, Any]:
    """The answer to a request for a test.

    Raises:
        RefusedError: there is no text, nothing tests one here, or it was asked too often.
    """
    detector = detector_of(engine)
    if detector is None:
        raise RefusedError(
            404, "Nothing is tested for marks here; it was started without --detect."
        )
    text = fields.get("text")
    if not isinstance(text, str):
        raise wrong("text", text, "the text to test")
    detector.admit(seen.caller)
    log10_p, num_tokens = await asyncio.to_thread(detector.log10_p, text)
    seen.answering = Answering(num_tokens, no_pieces())
    return {
        "object": "watermark.detection",
        "profile_id": detector.profile_id,
        "p_value_at_most": float(f"1e{log10_p}"),
    }
