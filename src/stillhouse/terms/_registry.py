"""The registry: the sources that come with stillhouse, and those that a user adds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from stillhouse.errors import ConfigError
from stillhouse.records import content_hash
from stillhouse.settings import check_settings, parse_yaml, read_yaml
from stillhouse.terms._sources import Source

REGISTRY_VERSION = "2026-11-29"
"""The day on which the sources that come with stillhouse were last read."""

_FOLDER = "registry"


@dataclass(frozen=True)
class Registry:
    """Sources by id.

    Attributes:
        version: Of the sources that come with stillhouse; `+ N` where a user added or replaced N.
        sha256: Of the content of all sources.
        sources: By id.
        added: Files of the user, with the SHA-256 of their content.
    """

    version: str
    sha256: str
    sources: dict[str, Source]
    added: tuple[tuple[str, str], ...] = ()

    def source(self, source_id: str, *, where: str) -> Source:
        """The source of an id.

        Raises:
            ConfigError: there is none.
        """
        found = self.sources.get(source_id)
        if found is None:
            near = get_close_matches(source_id, self.sources, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"{where}: {source_id!r} is no source of the registry. {hint}See: stillhouse terms "
                "list, or add a file under 'registries'."
            )
        return found

    def of_provider(self, provider: str) -> Source | None:
        """The terms that accounts of a provider are under unless declared otherwise."""
        return next((one for one in self.sources.values() if provider in one.providers), None)

    def of_license(self, name: str) -> Source | None:
        """The source that cards call by `name`, in any case."""
        wanted = name.strip().lower()
        return next((one for one in self.sources.values() if wanted in one.licenses), None)


def load_registry(files: Sequence[Path] = (), *, today: date) -> Registry:
    """The registry with the sources in `files`, later ones replacing those of the same id.

    Args:
        files: YAML with `sources:`, a list.
        today: Nothing may have been written or read later.

    Raises:
        ConfigError: a file is no such YAML, a field is unknown, missing or wrong, an id is there
            twice in a file, or a date lies in the future.
    """
    built_in = _built_in()
    if not files:
        return built_in
    sources, added = dict(built_in.sources), []
    for path in files:
        data = read_yaml(path, hint="Give a registry; docs/terms.md shows one.")
        found = list(_sources_of(data, where=str(path)))
        for one in found:
            _check_dates(one, today, where=str(path))
            _check_claims(one, sources, where=str(path))
            sources[one.id] = one
        added.append((path.name, content_hash([one.model_dump(mode="json") for one in found])))
    return Registry(
        version=f"{built_in.version} + {len(added)}",
        sha256=_sha256(sources),
        sources=sources,
        added=tuple(added),
    )


@lru_cache(maxsize=1)  # forty files, which a run asks for with every stage
def _built_in() -> Registry:
    sources: dict[str, Source] = {}
    folder = resources.files("stillhouse.terms") / _FOLDER
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if not file.name.endswith(".yaml"):
            continue
        data = parse_yaml(file.read_text("utf-8"), where=file.name)
        one = check_settings(Source, data, where=file.name)
        _check_dates(one, date.fromisoformat(REGISTRY_VERSION), where=file.name)
        _check_claims(one, sources, where=file.name)
        sources[one.id] = one
    return Registry(version=REGISTRY_VERSION, sha256=_sha256(sources), sources=sources)


def _sources_of(data: dict[str, Any], *, where: str) -> Iterator[Source]:
    entries = data.get("sources")
    if set(data) != {"sources"} or not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where}: a registry holds 'sources:' with a list, and nothing else.")
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        place = f"{where}, source {number}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{place} is a {type(entry).__name__}; it must hold settings.")
        one = check_settings(Source, entry, where=place)
        if one.id in seen:
            raise ConfigError(f"{place}: the id {one.id!r} is there twice. Give each once.")
        seen.add(one.id)
        yield one


def _check_dates(source: Source, today: date, *, where: str) -> None:
    for name, text in source.texts.items():
        for field, value in (("date", text.date), ("read", text.read)):
            # A year or a month begins with its first day, so comparing the beginnings is enough.
            if value > today.isoformat()[: len(value)]:
                raise ConfigError(
                    f"{where}: {field} of the text {name!r} of {source.id} is {value}, after today "
                    f"({today.isoformat()}). Correct it, or the clock of this machine."
                )


def _check_claims(source: Source, others: dict[str, Source], *, where: str) -> None:
    """A provider or a licence's name belongs to one source."""
    for other in others.values():
        if other.id == source.id:
            continue
        for what in ("providers", "licenses"):
            both = set(getattr(source, what)) & set(getattr(other, what))
            if both:
                raise ConfigError(
                    f"{where}: {what} of {source.id} name {min(both)!r}, which is that of "
                    f"{other.id}. Name it in one source."
                )


def _sha256(sources: dict[str, Source]) -> str:
    return content_hash([sources[name].model_dump(mode="json") for name in sorted(sources)])
