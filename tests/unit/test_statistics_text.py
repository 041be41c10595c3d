import pytest

from stillhouse.statistics import is_looping


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("one two", False),
        ("a b c a b c", False),
        ("a b c a b c a b c", True),
        ("A b, c! a B c? a b C.", True),
        ("a b c x a b c y a b c", True),
        ("ha ha ha ha", False),
        ("ha ha ha ha ha", True),
        ("high-end, high-end, high-end, high-end", True),
        ("the cat sat on the mat and the dog sat on the rug", False),
        ("L'\u00c9t\u00e9 fort, l'\u00e9t\u00e9 fort, L'\u00c9T\u00c9 FORT", True),
    ],
)
def test_a_run_of_three_words_three_times_is_a_loop(text: str, expected: bool) -> None:
    assert is_looping(text) is expected
