"""Licences by names of models, as hosts of other owners' models call them."""

from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources

from pydantic import Field

from stillhouse.records import Record
from stillhouse.settings import check_settings, parse_yaml
from stillhouse.terms._names import check_no_look_alike, check_plain

_FILE = "model_names.yaml"


class _Entry(Record):
    names: tuple[str, ...] = Field(min_length=1)
    sources: tuple[str, ...] = Field(min_length=1)


def sources_of_model(name: str) -> tuple[str, ...]:
    """The licences of a model by its name; none where the name does not tell.

    Raises:
        ConfigError: the name holds letters of other scripts, or looks like that of a known maker.
    """
    check_plain(name, what="The model")
    plain = name.lower().rsplit("/", 1)[-1]
    for entry in _entries():
        if any(fnmatchcase(plain, pattern) for pattern in entry.names):
            return entry.sources
    for maker in sorted(_makers()):
        # A whole beginning: `d33pseek-r1` looks like `deepseek-r1`, `llamafile` is no look-alike.
        check_no_look_alike(plain[: len(maker)], (maker,), what="The model's name")
    return ()


@lru_cache(maxsize=1)
def _entries() -> tuple[_Entry, ...]:
    text = (resources.files("stillhouse.terms") / _FILE).read_text("utf-8")
    rows = parse_yaml(text, where=_FILE)
    return tuple(check_settings(_Entry, row, where=_FILE) for row in rows)


def _makers() -> set[str]:
    """How names of known families begin: their letters before any digit or mark."""
    found = set()
    for entry in _entries():
        for name in entry.names:
            letters = name[: next((i for i, c in enumerate(name) if not c.isalpha()), len(name))]
            found.add(letters)
    return {one for one in found if len(one) >= 4}
