import numpy as np
import pytest
from detection_cases import KEY, profile_of

from stillhouse.errors import ConfigError, DataError
from stillhouse.watermark import calibrate, decoy_key


def templated(num_documents: int, seed: int = 0) -> list[np.ndarray]:
    """Documents that share whole sentences, as forms and product pages do."""
    rng = np.random.default_rng(seed)
    sentences = rng.integers(0, 40_000, size=(12, 20))
    return [
        np.concatenate(
            [sentences[rng.choice(12, size=3, replace=False)].ravel(), rng.integers(0, 40_000, 60)]
        )
        for _ in range(num_documents)
    ]


def test_common_ngrams_spread_alarms_over_keys_and_leaving_them_out_ends_it() -> None:
    found = calibrate(
        templated(2400), profile_of(), KEY, lengths=[120], levels=[0.01], num_decoys=20
    )
    with_them, without = found.rows
    assert (with_them.without_common, without.without_common) == (False, True)
    assert with_them.sd_over_keys > 2 * with_them.sd_by_chance
    assert without.sd_over_keys < 1.6 * without.sd_by_chance
    assert without.mean_rate == pytest.approx(0.01, abs=0.003)
    assert without.rate.low <= 0.01 <= without.rate.high
    # Three sentences and what joins them: 60 of 116 windows are common, but for the seams.
    assert without.scored_fraction == pytest.approx(0.5, abs=0.05)
    assert found.num_reference + found.num_tested == 2400
    assert with_them.num_texts == found.num_tested


def test_lengths_are_told_apart_and_those_without_texts_left_out() -> None:
    rng = np.random.default_rng(1)
    documents = [rng.integers(0, 40_000, size=rng.choice([40, 90])) for _ in range(400)]
    found = calibrate(documents, profile_of(), KEY, lengths=[30, 60, 500], num_decoys=3)
    assert [row.length for row in found.rows] == [30] * 4 + [60] * 4
    assert found.rows[0].num_texts > found.rows[4].num_texts
    document = found.document()
    assert document["num_decoys"] == 3
    assert len(document["rows"]) == 8


def test_a_document_that_comes_twice_counts_once() -> None:
    documents = [np.random.default_rng(seed).integers(0, 9999, 60) for seed in range(300)]
    once = calibrate(documents, profile_of(), KEY, lengths=[50], num_decoys=2)
    twice = calibrate(documents * 2, profile_of(), KEY, lengths=[50], num_decoys=2)
    assert once.rows == twice.rows


def test_decoys_are_keys_of_their_own() -> None:
    ids = {decoy_key(number).key_id for number in range(50)}
    assert len(ids) == 50
    assert KEY.key_id not in ids


def test_what_cannot_be_calibrated_is_refused() -> None:
    documents = [np.random.default_rng(seed).integers(0, 9999, 60) for seed in range(300)]
    with pytest.raises(DataError, match="at least 50"):
        calibrate(documents[:60], profile_of(), KEY)
    with pytest.raises(DataError, match="longest has 60"):
        calibrate(documents, profile_of(), KEY, lengths=[100])
    with pytest.raises(ConfigError, match="num_decoys=1"):
        calibrate(documents, profile_of(), KEY, num_decoys=1)
    with pytest.raises(ConfigError, match="level=0 "):
        calibrate(documents, profile_of(), KEY, levels=[0])
