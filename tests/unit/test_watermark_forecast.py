import numpy as np
import pytest
from detection_cases import marked_text, profile_of

from stillhouse.errors import ConfigError
from stillhouse.watermark import (
    critical_sums,
    decoy_key,
    detect,
    drawn_scores,
    forecast,
    null_law,
    zipf_law,
)


@pytest.mark.parametrize("entropy", [0.1, 1.0, 2.0, 5.0])
def test_a_zipf_law_has_the_entropy_that_is_asked_for(entropy: float) -> None:
    law = zipf_law(entropy)
    assert law.sum() == pytest.approx(1)
    assert -(law * np.log(law)).sum() == pytest.approx(entropy, abs=1e-6)
    assert (np.diff(law) <= 0).all()


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9, 1.0])
def test_the_mean_score_of_a_chosen_token_is_that_of_the_identity(p: float) -> None:
    # f(p) = sum over k of 1 / (k (1 + k p)): 1 at p = 1, as for unmarked text.
    k = np.arange(1, 2_000_000)
    expected = (1 / (k * (1 + k * p))).sum()
    given = drawn_scores(profile_of(), np.array([p]), 400_000, np.random.default_rng(0))
    assert given.mean() == pytest.approx(expected, rel=0.01)


def test_a_forecast_is_what_marked_texts_then_show() -> None:
    law, rng, found = zipf_law(1.0, 2000), np.random.default_rng(1), []
    for number in range(300):
        # A key for each: texts of one law share contexts, which one key always scores the same.
        key = decoy_key(number)
        text = marked_text(50, law, rng, key=key)
        found.append(detect(text, profile_of(key_id=key.key_id), key))
    scored = np.mean([one.num_scored for one in found]) / 50
    told = forecast(profile_of(), entropies_nats=[1.0], lengths=[50], scored_fraction=scored)
    # 300 texts tell it within 5 points (2 sd), and they differ in how much is scored.
    power = np.mean([one.is_marked(1e-3) for one in found])
    assert 0.2 < power < 0.9
    assert power == pytest.approx(told.power[50], abs=0.07)


@pytest.mark.parametrize("scheme", ["gumbel", "dual_gumbel", "kgw", "synthid"])
def test_the_length_that_is_needed_has_the_power_that_is_wanted(scheme: str) -> None:
    profile = profile_of(scheme)
    needed = forecast(profile, entropies_nats=[1.5], target=0.9).tokens_needed
    assert needed is not None
    rng = np.random.default_rng(3)
    law = zipf_law(1.5)
    scores = drawn_scores(profile, law, 4000 * needed, rng).reshape(4000, needed)
    limit = critical_sums(null_law(profile), [needed], -3.0)
    assert (scores.sum(axis=1) >= limit).mean() == pytest.approx(0.92, abs=0.05)


def test_less_entropy_needs_longer_texts_and_a_filter_too() -> None:
    needed = [
        forecast(profile_of(), entropies_nats=[h]).tokens_needed for h in (0.02, 0.3, 1.0, 2.5)
    ]
    assert None not in needed
    assert needed == sorted(needed, reverse=True)  # type: ignore[type-var]
    assert needed[0] > 2000  # type: ignore[operator]
    half = forecast(profile_of(), entropies_nats=[1.0], scored_fraction=0.5).tokens_needed
    assert half == pytest.approx(2 * needed[2], abs=2)  # type: ignore[operator]


def test_probabilities_of_sampled_tokens_tell_the_same_as_their_law() -> None:
    law = zipf_law(1.0)
    chosen = law[np.random.default_rng(0).choice(len(law), size=50_000, p=law)]
    by_law = forecast(profile_of(), entropies_nats=[1.0], lengths=[50])
    by_text = forecast(profile_of(), probabilities=chosen, lengths=[50])
    assert by_text.power[50] == pytest.approx(by_law.power[50], abs=0.03)


def test_tokens_without_a_choice_carry_no_evidence() -> None:
    certain = forecast(profile_of(), probabilities=[1.0] * 10, lengths=[100])
    assert certain.power[100] < 0.01
    assert certain.excess_per_token == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "either"),
        ({"entropies_nats": [1.0], "probabilities": [0.5]}, "either"),
        ({"entropies_nats": [0.0]}, "entropy of 0 nats"),
        ({"entropies_nats": [99.0]}, "entropy of 99 nats"),
        ({"entropies_nats": [1.0], "level": 0.0}, "level=0 "),
        ({"entropies_nats": [1.0], "target": 1.0}, "target=1 "),
        ({"entropies_nats": [1.0], "scored_fraction": 0.0}, "scored_fraction=0;"),
        ({"entropies_nats": [1.0], "lengths": []}, "lengths"),
        ({"probabilities": [0.5, 1.5]}, "not in"),
        ({"probabilities": []}, "0 probabilities"),
    ],
)
def test_what_cannot_be_forecast_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        forecast(profile_of(), **settings)  # type: ignore[arg-type]


def test_green_lists_need_the_whole_law() -> None:
    with pytest.raises(ConfigError, match="whole law"):
        forecast(profile_of("kgw"), probabilities=[0.5])
