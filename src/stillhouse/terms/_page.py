"""The registry as Markdown: the table in `docs/terms.md`, held by a test."""

from stillhouse.terms._registry import Registry
from stillhouse.terms._sources import Clause, Effect, Source, When

BEGIN = "<!-- registry: written by python -m stillhouse.cli._docs --write -->"
END = "<!-- end of registry -->"


def registry_page(registry: Registry) -> str:
    """A table of all sources with their clauses, one row each."""
    rows = [
        _row(source, clause)
        for source in sorted(registry.sources.values(), key=lambda one: one.id)
        for clause in source.clauses
    ]
    head = [
        BEGIN,
        "",
        f"Version {registry.version}: {len(registry.sources)} sources, {len(rows)} clauses.",
        "",
        "| clause | date | known by | SHA-256 of the text | what it says | what it does |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, "", END])


def with_registry(page: str, registry: Registry) -> str:
    """A page with the table in the place of the one that it has."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{registry_page(registry)}{after}"


def effect_text(effect: Effect) -> str:
    """An effect in words."""
    what: str = effect.verdict or ""
    if effect.duty is not None:
        what = f"{effect.duty.kind.replace('_', ' ')}: {effect.duty.value}"
    text = what + _when_text(effect.when, " if ")
    return text if effect.unless is None else text + _when_text(effect.unless, " unless ")


def _row(source: Source, clause: Clause) -> str:
    text = source.texts[clause.text]
    digest = f"`{text.sha256[:12]}`" if text.sha256 else "none held"
    date = text.date if text.date_of != "copy" else f"{text.date} (copy)"
    does = "; ".join(effect_text(one) for one in clause.effects) or "permits"
    says = clause.summary
    if clause.disputed is not None:
        says += f" **Disputed**: {clause.disputed}."
    cells = [f"[{clause.id}]({text.url})", date, text.evidence, digest, says, does]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _when_text(when: When, lead: str) -> str:
    parts = [one for one in (_listed("role", when.role),) if one]
    for name in ("competes", "commercial", "research", "student", "outside_family"):
        value = getattr(when, name)
        if value is not None:
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            parts.append(f"{name.replace('_', ' ')} = {shown.replace('_', ' ')}")
    if when.distribution:
        parts.append(_listed("distribution", when.distribution))
    if when.share_above is not None:
        parts.append(f"share > {when.share_above:g}")
    return lead + ", ".join(parts) if parts else ""


def _listed(name: str, values: tuple[str, ...]) -> str:
    return f"{name} = {' or '.join(one.replace('_', ' ') for one in values)}" if values else ""
