"""Names of keys: what could be taken for another name is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import ConfigError
from stillhouse.signing import check_key_name, lookalike


@pytest.mark.parametrize(
    "name",
    [
        *(
            "lab",
            "release-2026",
            "ann@example.org",
            "a" * 64,
            "Ann M\u00fcller",
            "\u0141\u00f3d\u017a",
        ),
        *("\u043a\u043b\u044e\u0447", "\u03ba\u03bb\u03b5\u03b9\u03b4\u03af", "\u9375"),
        *("\u30ad\u30fcbot", "\u0645\u0641\u062a\u0627\u062d", "\ud0a42"),
        "\u092e\u0941\u0916\u094d\u092f",
    ],
)
def test_plain_names_are_taken(name: str) -> None:
    assert check_key_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("l\u0430b", "mixes letters of CYRILLIC, LATIN"),
        ("p\u03b1ypal", "mixes letters of GREEK, LATIN"),
        ("\u0430\u0441\u0435", "is Cyrillic, yet looks Latin"),
        ("\u039f\u03a1\u0395\u039d", "is Greek, yet looks Latin"),
        ("lab\u200b", "takes 1 to 64 letters"),
        ("l\u0131b", "looks like another Latin letter"),
        ("\u0261rok", "looks like another Latin letter"),
        ("\uff4cab", "NFKC"),
        ("\ufb01n", "NFKC"),
        ("e\u0301", "NFKC"),
        ("x\u0304", "hard to see"),
        ("a\u034fb", "hard to see"),
        ("a\u115fb", "hard to see"),
        ("\u13aa\u13aa", "letters of CHEROKEE"),
        ("\u0661\u0662a", "mixes letters of ARABIC, LATIN"),
    ],
)
def test_lookalikes_are_refused_and_shown_in_ascii(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_key_name(name)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", " lab", "lab ", "a/b", "..", "-x", "a\nb", "a\x1b[31m", "a" * 65, "a:b", "a\\b"]
)
def test_names_that_are_no_plain_words_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="takes 1 to 64 letters"):
        check_key_name(name)


@given(st.text(max_size=80))
def test_every_name_that_is_taken_can_be_the_name_of_a_file(name: str) -> None:
    try:
        assert check_key_name(name) == name
    except ConfigError:
        return
    assert name.isprintable()
    assert "/" not in name
    assert name not in (".", "..")


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_ascii_never_looks_like_anything_else(text: str) -> None:
    assert lookalike(text) is None


@pytest.mark.parametrize("text", ["\u043epenai:gpt-5", "openai:gp\u03c4", "anthropic\u200b"])
def test_other_identifiers_can_be_checked_too(text: str) -> None:
    assert lookalike(text)
