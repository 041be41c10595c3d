"""From what a stage is given to whose terms it is under: teachers, data, base models."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from stillhouse.terms._declaration import Declaration
from stillhouse.terms._files import license_of_folder, license_of_gguf
from stillhouse.terms._judge import Origin
from stillhouse.terms._model_names import sources_of_model
from stillhouse.terms._names import check_no_look_alike, check_plain
from stillhouse.terms._registry import Registry

OWN = "own"
EMBEDDED = "apache-2.0"
"""The licence of SmolLM2-135M-Instruct, the teacher that comes with stillhouse."""

_PATHS = ("local", "gguf", "replay", "fake")
_SERVERS = ("ollama", "vllm", "llamacpp")  # of the user: the model's licence is all there is
_URLS = ("http", "https", "decisions")
_DECLARE = "Declare it in terms.yaml"


def teacher_origin(spec: str, declaration: Declaration, registry: Registry) -> Origin:
    """The origin that a teacher's spec, or its id, stands for.

    What is declared under `teachers` comes first, the longest pattern that fits; then the terms
    of the provider's account, and the licence of the model.

    Raises:
        ConfigError: the spec has letters of other scripts, looks like a known provider or model,
            or a declaration names a source that the registry does not have.
    """
    scheme, colon, rest = spec.partition(":")
    if scheme not in _PATHS:
        check_plain(spec, what="The teacher")
    declared = declared_sources(spec, declaration.teachers)
    if declared:
        return _teacher(spec, declared, "declared under teachers")
    if scheme == "fake":
        return _teacher(spec, (OWN,), "a script of yours")
    if scheme in ("local", "gguf"):
        return _teacher(
            spec, *model_sources(rest, registry, is_embedded=not rest.partition("?")[0])
        )
    if scheme == "replay":
        return _teacher(spec, (), f"The recording behind {spec} is not at hand to tell its terms.")
    if scheme in _URLS:
        why = f"{_DECLARE}: teachers: {{{spec!r}: SOURCE}} (own, if the model is yours)."
        return _teacher(spec, (), f"Nothing tells whose model answers at {spec}. {why}")
    if not colon:  # what an export says of who answered: a model's name alone
        sources = sources_of_model(spec)
        return _teacher(spec, sources, f"by the name {spec}" if sources else _no_license(spec))
    return _of_provider(spec, scheme, rest.partition("?")[0], declaration, registry)


def provider_origin(provider: str, declaration: Declaration, registry: Registry) -> Origin:
    """The origin of all models that an application asks an account for.

    Raises:
        ConfigError: the provider looks like a known one and is not it.
    """
    spec = f"{provider}:*"
    declared = declared_sources(spec, declaration.teachers)
    if declared:
        return _teacher(spec, declared, "declared under teachers")
    if provider in declaration.accounts:
        return _teacher(spec, declaration.accounts[provider], "the terms of the account")
    found = registry.of_provider(provider)
    if found is None:
        return _teacher(spec, (), f"{_DECLARE}: teachers: {{{spec!r}: SOURCE}}.")
    return _teacher(spec, (found.id,), "the terms of the account")


def dataset_origin(name: str, declaration: Declaration) -> Origin | None:
    """The origin that a file or dataset stands for; None where it is the user's own.

    A pattern may fit the whole path; the origin is called by its last part alone, since records
    hold no paths of a machine.
    """
    declared = declared_sources(name, declaration.datasets)
    if not declared:
        return None
    return Origin(
        role="dataset", name=PurePath(name).name, sources=declared, why="declared under datasets"
    )


def base_origin(base: str, declaration: Declaration, registry: Registry) -> Origin:
    """The origin that a base model stands for: `local:` and what follows, or a hub's name."""
    declared = declared_sources(base, declaration.base_models)
    if declared:
        return Origin(
            role="base_model", name=base, sources=declared, why="declared under base_models"
        )
    rest = base.removeprefix("local:")
    sources, why = model_sources(rest, registry, is_embedded=not rest)
    if not sources:
        why += f" {_DECLARE}: base_models: {{{base!r}: SOURCE}}."
    return Origin(role="base_model", name=base, sources=sources, why=why)


def model_sources(
    place: str, registry: Registry, *, is_embedded: bool = False
) -> tuple[tuple[str, ...], str]:
    """The licences of a model on this machine, and how they were found or why not."""
    if is_embedded:
        return (EMBEDDED,), "the model that comes with stillhouse"
    path = Path(place.partition("?")[0])
    stated = license_of_gguf(path) if path.is_file() else license_of_folder(path)
    if stated is not None:
        found = registry.of_license(stated)
        if found is not None:
            return (found.id,), f"{path.name} states the licence {stated!r}"
        return (), f"{path} states the licence {stated!r}, which the registry does not have."
    by_name = sources_of_model(path.name) if path.name.isascii() else ()
    if by_name:
        return by_name, f"by the name {path.name}"
    return (), f"{path} states no licence."


def declared_sources(name: str, declared: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What is declared for a name: that of the longest pattern that fits, none where none does."""
    fits = [pattern for pattern in declared if fnmatchcase(name, pattern)]
    return declared[max(fits, key=lambda one: (len(one), one))] if fits else ()


def _of_provider(
    spec: str, provider: str, model: str, declaration: Declaration, registry: Registry
) -> Origin:
    if provider in _SERVERS:
        sources = sources_of_model(model)
        why = f"by the model's name {model}" if sources else _no_license(model)
        return _teacher(spec, sources, why)
    known = {name for one in registry.sources.values() for name in one.providers}
    if provider not in known:
        check_no_look_alike(provider, known, what="The provider")
        why = f"No source of the registry is about the provider {provider!r}."
        return _teacher(spec, (), f"{why} {_DECLARE}: teachers: {{{spec!r}: SOURCE}}.")
    of_provider = registry.of_provider(provider)
    assert of_provider is not None  # `known` has it
    account = declaration.accounts.get(provider, (of_provider.id,))
    if not of_provider.hosts_models:
        return _teacher(spec, account, "the terms of the account")
    licenses = sources_of_model(model)
    if not licenses:
        return _teacher(spec, (), _no_license(model))
    return _teacher(spec, (*account, *licenses), "the terms of the host and the model's licence")


def _no_license(model: str) -> str:
    return (
        f"The name {model!r} does not tell the licence of the model. {_DECLARE}: teachers, with "
        "the terms of the host and the model's licence."
    )


def _teacher(spec: str, sources: tuple[str, ...], why: str) -> Origin:
    return Origin(role="teacher", name=spec, sources=sources, why=why)
