"""Text of unknown origin, made safe to show: nothing in it is markup, and nothing is hidden."""

import re
import unicodedata

_MARKUP = re.compile(r"([\\`*_\[\]#|~!])")
_LIST_START = re.compile(r"^(\d+)([.)])(?=\s|$)|^([+-])")
_HASH = re.compile(r"[0-9a-f]{40,64}")
# Controls, formats (direction, joiners), surrogates, private use, unassigned, line breaks.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def one_line(text: str) -> str:
    """`text` on one line: white space is single spaces, and what cannot be seen is its number.

    Letters outside ASCII in a word that also has Latin ones, or that only look like ASCII, are
    their numbers too (a backslash, u and four digits), so that no name passes for another.
    """
    words = "".join(_seen(character) for character in text).split()
    return " ".join(_with_shown_scripts(word) for word in words)


def paragraph(text: str) -> str:
    """`markdown` for the start of a line, where numbers and signs would begin a list."""
    return _LIST_START.sub(_escaped_start, markdown(text))


def markdown(text: str) -> str:
    """`text` as Markdown that shows it and does nothing else; hashes as code."""
    line = one_line(text)
    if _HASH.fullmatch(line):
        return f"`{line}`"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", line)


def _escaped_start(found: re.Match[str]) -> str:
    return f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}"


def _seen(character: str) -> str:
    if character.isspace():
        return " "
    return _code(character) if unicodedata.category(character) in _HIDDEN else character


def _with_shown_scripts(word: str) -> str:
    if word.isascii():
        return word
    looks_ascii = unicodedata.normalize("NFKC", word).isascii()
    letters = [character for character in word if character.isalpha()]
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in letters}
    if looks_ascii or ("LATIN" in scripts and len(scripts) > 1):
        return "".join(
            letter if letter.isascii() or _is_latin(letter, looks_ascii) else _code(letter)
            for letter in word
        )
    return word


def _is_latin(letter: str, looks_ascii: bool) -> bool:
    return not looks_ascii and unicodedata.name(letter, "?").startswith("LATIN")


def _code(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
