import pytest

from stillhouse.errors import RecordError
from stillhouse.graders import numeric
from stillhouse.graders._numeric import last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42.0),
        ("The answer is 42.", 42.0),
        ("#### 1,234", 1234.0),
        ("$1,234.50", 1234.5),
        ("-5 degrees", -5.0),
        ("-$5", -5.0),
        ("$-5", -5.0),
        ("\u22125", -5.0),
        ("it is 10-12 km", 12.0),
        ("from 3 to 7%", 7.0),
        ("1e3 m", 1000.0),
        (".5", 0.5),
        ("x=-0.25", -0.25),
        ("(-3)", -3.0),
        ("12,34", 34.0),
        ("about 3 apples", 3.0),
        ("then 1e999", None),
        ("4 then 1e999", 4.0),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_of_a_text_is_read_without_its_unit(
    text: str, number: float | None
) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("So 18 dollars", "18", 1.0),
        ("18.0000001", "18", 1.0),
        ("18.01", "18", 0.0),
        ("0.3333", "0.33333", 0.0),
        ("-18", "18", 0.0),
        ("nothing", "0", 0.0),
        ("0.0000001", "0", 1.0),
        ("0.001", "0", 0.0),
    ],
)
def test_numbers_are_equal_up_to_rounding(answer: str, expected: str, score: float) -> None:
    assert numeric(answer, expected) == score


def test_the_tolerance_is_relative_to_what_is_expected() -> None:
    assert numeric("101", "100", tolerance=0.01) == 1.0
    assert numeric("99", "100", tolerance=0.009) == 0.0


def test_an_expected_text_without_a_number_is_refused() -> None:
    with pytest.raises(RecordError, match="holds no number"):
        numeric("1", "one")
