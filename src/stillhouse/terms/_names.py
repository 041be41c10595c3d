"""Names that look like others: a letter of another script, or a digit for a letter."""

import unicodedata
from collections.abc import Iterable

from stillhouse.errors import ConfigError

_LOOKS_LIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "|": "l", "3": "e"})


def check_plain(name: str, *, what: str) -> None:
    """Refuse a name with anything but printable ASCII: most look-alikes are of another script.

    Raises:
        ConfigError: there is such a character; the message names it.
    """
    for char in name:
        if not (char.isascii() and char.isprintable()):
            known = unicodedata.name(char, f"U+{ord(char):04X}")
            raise ConfigError(
                f"{what} {name!r} holds {known} (U+{ord(char):04X}), which may look like another "
                "letter. Names of teachers, providers and sources are plain ASCII: type it again."
            )


def check_no_look_alike(name: str, known: Iterable[str], *, what: str) -> None:
    """Refuse a name that reads as a known one and is not it, such as `0penai`.

    Raises:
        ConfigError: it is one.
    """
    shape = _shape(name)
    for other in known:
        if name != other and shape == _shape(other):
            raise ConfigError(
                f"{what} {name!r} looks like {other!r} and is not it. Type the right name."
            )


def _shape(name: str) -> str:
    text = unicodedata.normalize("NFKC", name).lower()
    return text.replace("rn", "m").replace("vv", "w").translate(_LOOKS_LIKE)
