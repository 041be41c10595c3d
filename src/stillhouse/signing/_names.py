"""Names that a person can tell from every other: no look-alikes, nothing invisible."""

import re
import unicodedata

from stillhouse.errors import ConfigError

_MAX_CHARS = 64
_KEY_NAME = re.compile(r"\w[\w.@+ -]*")
# Of other Latin letters without a plain one beneath, most are look-alikes (dotless i, script g).
_OWN_LATIN = set(
    "\u00df\u00e6\u00f8\u0153\u00fe\u00f0\u0142\u0111\u0127\u00c6\u00d8\u0152\u00de\u00d0"
    "\u0141\u0110\u0126"
)
# Scripts whose letters may be mixed, after the "highly restrictive" level of UTS 39, section 5.2.
_EAST_ASIAN = {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "HANGUL"}
_SCRIPTS = _EAST_ASIAN | {
    *("ARABIC", "BENGALI", "CYRILLIC", "DEVANAGARI", "GEORGIAN", "GREEK", "HEBREW", "TAMIL"),
    *("TELUGU", "THAI"),
}
# Letters that look like Latin ones: a word of them alone is read as another word.
_LIKE_LATIN = set(
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455\u0501\u04bb\u051b\u051d"
    "\u04cf\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422"
    "\u0425\u0423\u050c\u051a\u051c"
) | set(
    "\u03bf\u03bd\u03b9\u03c1\u03c5\u03ba\u03b1\u03c7\u0391\u0392\u0395\u0396\u0397\u0399"
    "\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
)


def lookalike(text: str) -> str | None:
    """Why `text` could be taken for another one, as the end of a sentence; None where it cannot.

    It has to be NFKC and printable, in letters of one script (of East Asian ones and Latin, of
    several), and no word of Cyrillic or Greek letters that all look like Latin ones.

    Source: Unicode Technical Standard 39, sections 4 and 5, without its tables.
    """
    if unicodedata.normalize("NFKC", text) != text:
        return "is not in the Unicode form NFKC"
    if odd := next((character for character in text if _is_hidden(character)), None):
        return f"holds U+{ord(odd):04X}, which is hard to see or not at all"
    letters = [c for c in text if not c.isascii() and (c.isalnum() or _is_mark(c))]
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
    without_marks = "".join(character for character in name if not _is_mark(character))
    is_plain = _KEY_NAME.fullmatch(without_marks) and name == name.strip()
    if len(name) > _MAX_CHARS or not is_plain:
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
    # Marks of a script's own are a part of its letters; the general ones fit, or hide in, any.
    name = unicodedata.name(character, "")
    is_general = name.startswith(("COMBINING", "VARIATION")) or "FILLER" in name
    return is_general or not character.isprintable()


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _script(letter: str) -> str:
    return re.split("[ -]", unicodedata.name(letter, "UNNAMED"))[0]


def _is_plain_latin(letter: str) -> bool:
    return unicodedata.normalize("NFD", letter)[0].isascii() or letter in _OWN_LATIN
