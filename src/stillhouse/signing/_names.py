"""Names that a person can tell from every other: no look-alikes, nothing invisible."""

import re
import unicodedata

from stillhouse.errors import ConfigError

_MAX_CHARS = 64
_KEY_NAME = re.compile(r"\w[\w.@+ -]*")
# Of other Latin letters without a plain one beneath, most are look-alikes (dotless i, script g).
_OWN_LATIN = set("ßæøœþðłđħÆØŒÞÐŁĐĦ")
# Scripts whose letters may be mixed, after the "highly restrictive" level of UTS 39, section 5.2.
_EAST_ASIAN = {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "HANGUL"}
_SCRIPTS = _EAST_ASIAN | {
    *("ARABIC", "BENGALI", "CYRILLIC", "DEVANAGARI", "GEORGIAN", "GREEK", "HEBREW", "TAMIL"),
    *("TELUGU", "THAI"),
}
# Letters that look like Latin ones: a word of them alone is read as another word.
_LIKE_LATIN = set("асеорхуіјѕԁһԛԝӏАВСЕНІЈКМОРЅТХУԌԚԜ") | set("ονιρυκαχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")


def lookalike(text: str) -> str | None:
    """Why `text` could be taken for another one, as the end of a sentence; None where it cannot.

    It has to be NFKC and printable, in letters of one script (of East Asian ones and Latin, of
    several), and no word of Cyrillic or Greek letters that all look like Latin ones.

    Source: Unicode Technical Standard 39, sections 4 and 5, without its tables.
    """
    if unicodedata.normalize("NFKC", text) != text:
        return "is not in the Unicode form NFKC"
    if odd := next((character for character in text if _is_hidden(character)), None):
        return f"holds U+{ord(odd):04X}, which cannot be seen"
    letters = [c for c in text if not c.isascii() and (c.isalnum() or unicodedata.combining(c))]
    scripts = {_script(letter) for letter in letters}
    if any(c.isascii() and c.isalpha() for c in text):
        scripts.add("LATIN")
    if not (scripts <= _EAST_ASIAN or len(scripts) == 1):
        return f"mixes letters of {', '.join(sorted(scripts))}"
    if scripts - _SCRIPTS:
        return f"has letters of {', '.join(sorted(scripts - _SCRIPTS))}, which are not allowed"
    if odd := next((c for c in letters if _script(c) == "LATIN" and not _is_plain_latin(c)), None):
        return f"holds U+{ord(odd):04X}, which looks like another Latin letter"
    if letters and all(letter in _LIKE_LATIN for letter in letters):
        return f"is {scripts.pop().title()}, yet looks Latin"
    return None


def check_key_name(name: str) -> str:
    """`name`, if a key may be called that.

    Raises:
        ConfigError: it is empty, too long, holds other characters than letters, digits, spaces
            and `._@+-`, or could be taken for another name.
    """
    if len(name) > _MAX_CHARS or not _KEY_NAME.fullmatch(name) or name != name.strip():
        raise ConfigError(
            f"{name!r:.80} is no name for a key: it takes 1 to {_MAX_CHARS} letters, digits, "
            "spaces and . _ @ + -, and begins with a letter or digit. Choose another."
        )
    if problem := lookalike(name):
        raise ConfigError(
            f"The key name {name!a} {problem}, so that it could pass for another name. "
            "Choose another."
        )
    return name


def _is_hidden(character: str) -> bool:
    name = unicodedata.name(character, "")
    is_mark = name.startswith(("COMBINING", "VARIATION")) or "FILLER" in name
    return is_mark or not character.isprintable()


def _script(letter: str) -> str:
    return re.split("[ -]", unicodedata.name(letter, "UNNAMED"))[0]


def _is_plain_latin(letter: str) -> bool:
    return unicodedata.normalize("NFD", letter)[0].isascii() or letter in _OWN_LATIN
