"""`docs/providers.md`, written from the table of providers."""

from stillhouse.teachers._providers import PROVIDERS, Provider

_PAGE_HEAD = (
    "# Providers",
    "",
    "A teacher of a provider is written `NAME:MODEL`. The key is read from the environment, sent",
    "to that address only and written nowhere. The address variable, where it is set, takes the",
    "place of the address.",
    "",
    "Written from the table in `stillhouse.teachers`; a test compares the two.",
    "",
    "| name | provider | address | key | address variable | dialects | top logprobs | at once "
    "| to know |",
    "|---|---|---|---|---|---|---|---|---|",
)


def providers_page() -> str:
    """The table as Markdown: the text of `docs/providers.md`."""
    rows = [_row(provider) for provider in PROVIDERS.values()]
    return "\n".join((*_PAGE_HEAD, *rows, ""))


def _row(provider: Provider) -> str:
    key = f"`{provider.key_variable}`" if provider.key_variable else "none"
    address = provider.base_url or f"`{provider.base_url_variable}` + {provider.base_url_suffix}"
    cells = (
        f"`{provider.name}`",
        provider.title,
        address,
        key,
        f"`{provider.base_url_variable}`",
        ", ".join(provider.dialects),
        str(provider.quirks.max_top_logprobs),
        str(provider.concurrency),
        _to_know(provider),
    )
    return f"| {' | '.join(cells)} |"


def _to_know(provider: Provider) -> str:
    quirks = provider.quirks
    facts = [provider.note] if provider.note else []
    if quirks.seed_field is None and "seed" not in provider.note:
        facts.append("No seeds.")
    if not quirks.has_output_schema:
        facts.append("No JSON Schema for answers.")
    return " ".join(facts)
