"""What a user declared, in a file that a flag, a config or the environment names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.settings import check_settings, read_yaml
from stillhouse.signing import load_trust
from stillhouse.terms._declaration import Declaration
from stillhouse.terms._names import check_plain
from stillhouse.terms._registry import Registry, load_registry
from stillhouse.terms._waivers import Waiver, read_waiver

TERMS_VARIABLE = "STILLHOUSE_TERMS"
"""Environment variable with the path of the declaration, where no other is given."""


@dataclass(frozen=True)
class Terms:
    """All that verdicts rest on.

    Attributes:
        path: The file that was read; None where nothing was declared.
        declaration: What the user states.
        registry: The sources, those of the user included.
        waivers: Permissions whose signatures count.
        now: The clock.
    """

    path: Path | None
    declaration: Declaration
    registry: Registry
    waivers: tuple[Waiver, ...]
    now: datetime


def load_terms(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Terms:
    """The declaration in `path`, else in the file that `STILLHOUSE_TERMS` names, else an empty one.

    Args:
        path: `terms.yaml`.
        environ: The environment; that of the process when None.
        now: The clock; that of the machine when None.

    Raises:
        ConfigError: a file is missing or wrong, names what is not in the registry, or waivers are
            given without whom to trust.
        SignatureError: a waiver does not count.
    """
    now = now or datetime.now(UTC)
    if path is None:
        named = (os.environ if environ is None else environ).get(TERMS_VARIABLE, "").strip()
        path = Path(named) if named else None
    if path is None:
        return Terms(None, Declaration(), load_registry(today=now.date()), (), now)
    hint = "Give a declaration of terms, or write one with: stillhouse terms init"
    declaration = check_settings(Declaration, read_yaml(path, hint=hint), where=str(path))
    folder = path.parent
    registry = load_registry([folder / one for one in declaration.registries], today=now.date())
    _check_names(declaration, registry, where=str(path))
    return Terms(path, declaration, registry, _waivers(declaration, path, registry, now), now)


def _waivers(
    declaration: Declaration, path: Path, registry: Registry, now: datetime
) -> tuple[Waiver, ...]:
    if not declaration.waivers:
        return ()
    if declaration.trust is None:
        raise ConfigError(
            f"{path} has waivers but no 'trust': the file with the public keys of the owners whose "
            "permission counts. Add it (docs/signatures.md)."
        )
    trust = load_trust(path.parent / declaration.trust)
    return tuple(
        read_waiver(
            path.parent / one,
            trust,
            registry=registry,
            licensee=declaration.licensee,
            now=now,
        )
        for one in declaration.waivers
    )


def _check_names(declaration: Declaration, registry: Registry, *, where: str) -> None:
    """Find out now that a source is misspelt, and not only where a teacher needs it."""
    for field in ("accounts", "teachers", "datasets", "base_models"):
        for name, sources in getattr(declaration, field).items():
            if field in ("accounts", "teachers"):
                check_plain(name, what=f"{where}: {field}:")
            for one in sources:
                registry.source(one, where=f"{where}: {field}: {name}")
    providers = {name for one in registry.sources.values() for name in one.providers}
    unknown = sorted(set(declaration.accounts) - providers)
    if unknown:
        raise ConfigError(
            f"{where}: accounts: {unknown[0]!r} is no provider of the registry. Those are "
            f"{', '.join(sorted(providers)[:10])} and others; patterns of specs go under teachers."
        )
