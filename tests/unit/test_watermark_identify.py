import numpy as np
import pytest
from detection_cases import KEY, SCHEMES, marked_text, profile_of

from stillhouse.errors import ConfigError
from stillhouse.watermark import detect, identify, zipf_law

LAW = zipf_law(4.0, 4000)
CUSTOMERS = [f"customer {number}" for number in range(300)]


def test_the_customer_whose_key_marked_a_text_is_named() -> None:
    text = marked_text(120, LAW, np.random.default_rng(1), customer="customer 217")
    found = identify(text, profile_of(), KEY, CUSTOMERS)
    assert [one.customer for one in found.found] == ["customer 217"]
    assert len(found.next) == 3
    assert found.num_customers == 300
    (best,) = found.found
    assert best.log10_adjusted_p == pytest.approx(best.log10_p + np.log10(300))
    profile = profile_of(customer=KEY.customer_id("customer 217"))
    assert detect(text, profile, KEY).log10_p == pytest.approx(best.log10_p)


def test_nobody_is_named_for_texts_without_their_marks() -> None:
    rng = np.random.default_rng(2)
    of_deployment = marked_text(120, LAW, rng)
    assert identify(of_deployment, profile_of(), KEY, CUSTOMERS).found == ()
    wrong = [
        identify(rng.integers(0, 40_000, 80), profile_of(), KEY, CUSTOMERS, level=0.1).found
        for _ in range(60)
    ]
    # Six are allowed, 13 have a chance of 1 in 200 then.
    assert sum(map(bool, wrong)) <= 13
    assert identify([], profile_of(), KEY, CUSTOMERS).found == ()


def test_two_customers_in_one_text_are_both_named() -> None:
    rng = np.random.default_rng(3)
    parts = [marked_text(120, LAW, rng, customer=f"customer {number}") for number in (5, 9)]
    found = identify(np.concatenate(parts), profile_of(), KEY, CUSTOMERS)
    assert {one.customer for one in found.found} == {"customer 5", "customer 9"}


@pytest.mark.parametrize("customers", [[], ["a", "b", "a"]])
def test_customers_are_given_once_each(customers: list[str]) -> None:
    with pytest.raises(ConfigError, match="each once"):
        identify([1] * 9, profile_of(), KEY, customers)


def test_what_has_no_customers_is_refused() -> None:
    with pytest.raises(ConfigError, match="knows no customers"):
        identify([1] * 9, profile_of(*SCHEMES[-1]), KEY, ["a"])
    with pytest.raises(ConfigError, match="level=0 "):
        identify([1] * 9, profile_of(), KEY, ["a"], level=0)
