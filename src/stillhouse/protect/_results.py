"""What a test for radioactivity found, as records."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.protect._test import DecoyCheck, KeyTest
from stillhouse.records import Record

StatisticName = Literal[
    "contrast", "root contrast", "soft", "argmax", "written", "written less expected"
]

STATISTICS: dict[str, str] = {
    "contrast": "sum over contexts and tokens of (p - q) times the centred keyed score, p being "
    "the suspect's probability of the token and q the reference's",
    "root contrast": "sum over contexts and tokens of (sqrt(p) - sqrt(q)) times the centred keyed "
    "score, p being the suspect's probability of the token and q the reference's",
    "soft": "sum over contexts and tokens of the suspect's probability of the token times its "
    "centred keyed score",
    "argmax": "sum over contexts of the centred keyed score of the suspect's likeliest token",
    "written": "sum over tokens that the suspect wrote of their centred keyed score",
    "written less expected": "sum over contexts and tokens of (1 if the suspect wrote it, else 0, "
    "less q) times the centred keyed score, q being the reference's probability of the token",
}
"""What each statistic is, in words."""


class RadioactivityConfig(Record):
    """How a suspect is tested for marked training data."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    max_contexts: int = Field(default=20_000, ge=1)
    """Contexts that are scored at most; each counts once."""
    level: float = Field(default=1e-3, gt=0, lt=1)
    """Chance of accusing a model that never saw marked data."""
    decoys: int = Field(default=200, ge=0, le=10_000)
    """Keys that nobody used, under which the same test must find nothing."""
    contrast: Literal["contrast", "root contrast"] = "contrast"
    """Which difference from a reference decides: that of probabilities, or that of their roots,
    which spreads the weight over more tokens (docs/radioactivity.md). Choose before the test."""
    seed: int = 0
    """Of the decoy keys."""


class CustomerTest(Record):
    """The test under the key of one customer."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    customer: str
    """As it was given."""
    test: KeyTest
    """Its own result."""
    log10_p_adjusted: float
    """By Holm, for the number of customers that were tried."""


class TextCounts(Record):
    """What the test was made on."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    texts: int
    """That were read."""
    tokens: int
    """Of their answers, in the watermark's tokenizer."""
    windows: int
    """With a whole context that was new."""
    contexts: int
    """Of those, where the suspect could be asked."""

    @property
    def aligned_share(self) -> float:
        """Of the windows; 1 where the tokenizers are the same."""
        return self.contexts / self.windows


class RadioactivityResults(Record):
    """What a test for radioactivity found."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    suspect: str
    """Whose training is in question."""
    reference: str | None
    """What it was compared with."""
    access: Literal["open", "closed"]
    """Whether its distributions were read, or only what it wrote."""
    scheme: str
    """Of the watermark."""
    profile_id: str
    """Of the watermark."""
    primary: StatisticName
    """The one statistic that decides, chosen by what was at hand and not by its result."""
    tests: dict[StatisticName, KeyTest]
    """All statistics under the profile's key; those beside the primary one decide nothing."""
    log10_p: float
    """Of the primary statistic; corrected by Holm where customers' keys were tried too."""
    customers: tuple[CustomerTest, ...]
    """The primary statistic under customers' keys."""
    decoys: DecoyCheck | None
    """Of the primary statistic."""
    counts: TextCounts
    """What it was made on."""
    shared_share: float
    """Mean probability of the suspect on tokens of the watermark's vocabulary."""
    effect: float | None
    """Mean centred score of the owner's texts, per token; None without texts."""
    effect_z: float | None
    """Of those texts, in standard deviations of unmarked ones."""
    share_estimate: float | None
    """Of a closed model: its mean score against that of the marked texts."""
    detectable_share: float | None
    """Share of choices that follow the mark from which on four of five suspects are found, by the
    test of likeliest or written tokens; None where texts carry no mark to measure it by."""
    level: float
    """Of the verdict."""
    is_found: bool
    """Whether the primary statistic, or a customer's after Holm, is below the level."""
    seconds: float
    """What it took."""
    created_utc: datetime
    """When."""
