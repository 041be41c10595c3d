"""Was a suspect trained on marked text?"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from stillhouse.artifacts import Artifact
from stillhouse.errors import ConfigError
from stillhouse.protect._keyed import KeyedScores, decoy_scores, keyed_scores
from stillhouse.protect._observed import Inputs, Observed, observe
from stillhouse.protect._power import detectable_share
from stillhouse.protect._results import (
    CustomerTest,
    RadioactivityConfig,
    RadioactivityResults,
    StatisticName,
)
from stillhouse.protect._test import KeyTest, TokenTest
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.watermark import Profile, WatermarkKey

MARKED_Z = 4.0
"""From here on the owner's texts count as marked; it decides on forecasts only."""


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        results: The numbers.
        parents: The artefacts that were read.
        fingerprints: Of the models and artefacts, by name.
    """

    results: RadioactivityResults
    parents: tuple[Artifact, ...]
    fingerprints: dict[str, str]


def find_radioactivity(
    inputs: Inputs,
    profile: Profile,
    key: WatermarkKey,
    *,
    config: RadioactivityConfig,
    on_progress: Listener = ignore_progress,
) -> Found:
    """Test whether a suspect favours what a key favours.

    A model is open: its distributions over the texts count. A folder of completions or of a dataset
    is what a closed model wrote. One statistic decides, by what is at hand: with a reference the
    contrast with it, else the plain one.

    Args:
        inputs: Models, texts and customers.
        profile: Of the watermark.
        key: Of the profile.
        config: Sizes and level.
        on_progress: Told as texts are read.

    Raises:
        ConfigError: the key is not the profile's, or the suspect is the model that wrote the texts.
        VocabularyMismatchError: no tokenizer that was given is the watermark's.
        DataError: nothing is left to test.
        IntegrityError: an artefact or model is damaged.
    """
    started_s = time.monotonic()
    keyed = keyed_scores(profile, key)
    if len(set(inputs.customers)) < len(inputs.customers):
        raise ConfigError("A customer is named twice. Name each once.")
    observed = observe(inputs, profile, config, on_progress)
    deciding = TokenTest(observed.statistics[observed.primary], keyed)
    tests = {name: TokenTest(one, keyed).under(keyed) for name, one in observed.statistics.items()}
    real = tests[observed.primary]
    decoys = None
    if config.decoys:
        decoys = deciding.decoys(decoy_scores(profile, config.decoys, seed=config.seed), real)
    own_log10_p, named = _customers(deciding, real, profile, key, inputs.customers)
    effect = _effect(observed, keyed)
    results = RadioactivityResults(
        suspect=observed.suspect,
        reference=observed.reference,
        access=observed.access,
        scheme=profile.scheme,
        profile_id=profile.profile_id,
        primary=observed.primary,
        tests=tests,
        log10_p=own_log10_p,
        customers=named,
        decoys=decoys,
        counts=observed.counts,
        shared_share=observed.shared_share,
        effect=effect.mean,
        effect_z=effect.z,
        share_estimate=_share(observed, tests, keyed, effect),
        detectable_share=_detectable(observed, keyed, effect, config.level),
        level=config.level,
        is_found=min([own_log10_p, *(one.log10_p_adjusted for one in named)])
        <= math.log10(config.level),
        seconds=round(time.monotonic() - started_s, 3),
        created_utc=datetime.now(UTC),
    )
    return Found(results, observed.parents, dict(observed.fingerprints))


@dataclass(frozen=True)
class _Effect:
    mean: float | None
    z: float | None

    @property
    def is_marked(self) -> bool:
        return self.z is not None and self.z >= MARKED_Z


def _effect(observed: Observed, keyed: KeyedScores) -> _Effect:
    """How strongly the owner's own texts carry the mark, per token."""
    if observed.marked is None:
        return _Effect(None, None)
    result = TokenTest(observed.marked, keyed).under(keyed)
    mean = result.z * math.sqrt(keyed.law.variance / len(observed.marked))
    return _Effect(mean, result.z)


def _share(
    observed: Observed,
    tests: Mapping[StatisticName, KeyTest],
    keyed: KeyedScores,
    effect: _Effect,
) -> float | None:
    """The mean score of a closed model's tokens against that of marked text."""
    if observed.access == "open" or not effect.is_marked or effect.mean is None:
        return None
    tokens = len(observed.statistics["written"])
    return tests["written"].z * math.sqrt(keyed.law.variance / tokens) / effect.mean


def _detectable(
    observed: Observed, keyed: KeyedScores, effect: _Effect, level: float
) -> float | None:
    if not effect.is_marked or effect.mean is None:
        return None
    plain = observed.statistics["argmax" if observed.access == "open" else "written"]
    return detectable_share(effect.mean, keyed.law, len(plain), level=level)


def _customers(
    test: TokenTest,
    real: KeyTest,
    profile: Profile,
    key: WatermarkKey,
    customers: Sequence[str],
) -> tuple[float, tuple[CustomerTest, ...]]:
    """The profile's own log10 p and the customers' results, corrected together."""
    results = []
    for name in customers:
        theirs = profile.model_copy(update={"customer": key.customer_id(name)})
        results.append(test.under(keyed_scores(theirs, key)))
    adjusted = _holm_log10([real.log10_p, *(result.log10_p for result in results)])
    named = tuple(
        CustomerTest(customer=name, test=result, log10_p_adjusted=log10_p)
        for name, result, log10_p in zip(customers, results, adjusted[1:], strict=True)
    )
    return adjusted[0], named


def _holm_log10(log10_p: Sequence[float]) -> list[float]:
    """`holm` for p-values that no float holds."""
    order = np.argsort(log10_p, kind="stable")
    ranked = np.asarray(log10_p, dtype=np.float64)[order]
    scaled = np.maximum.accumulate(ranked + np.log10(np.arange(len(ranked), 0, -1)))
    adjusted = np.empty(len(ranked))
    adjusted[order] = np.minimum(0.0, scaled)
    return [float(value) for value in adjusted]
