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


_PAGE_TAIL = (
    "",
    "## What is sent",
    "",
    "Only what the dialect has. Anthropic has no seeds and no log-probabilities, OpenAI Responses",
    "no seeds; `top_k`, `min_p` and penalties stay as the provider sets them. A JSON Schema for",
    "the answer is sent as it is, and held strictly where every object of it is closed and needs",
    "all its properties. A schema or log-probabilities asked of a provider that has none are an",
    "error, never left out.",
    "",
    "`reasoning_effort` (none, minimal, low, medium, high, xhigh, max) becomes",
    "",
    "- OpenAI, xAI, Mistral, Groq and most others: `reasoning_effort`, as it is;",
    "- OpenRouter: `reasoning.effort`, as it is;",
    "- DeepSeek, Moonshot: `thinking` on or off, and `reasoning_effort`; Qwen: `enable_thinking`;",
    "- Anthropic: adaptive thinking with `output_config.effort` (minimal is sent as low), or a",
    "  budget of 1,024 to 32,768 thinking tokens for Claude 4.5 and earlier, which must be below",
    "  `max_tokens`;",
    "- Gemini: `thinkingLevel` (max is sent as xhigh), or a budget of 512 to 24,576 for Gemini 2.",
    "",
    "## What is kept",
    "",
    "Prompt tokens count everything that was read, cached tokens included; completion tokens",
    "everything that was written and billed, reasoning included, whatever the provider's own way",
    "of counting. Reasoning is kept beside the text; OpenAI gives summaries only, and only in its",
    "Responses API. Refusals and cut answers are kept with their text and their reason.",
    "",
    "## Whether a student may learn from the answers",
    "",
    "Each owner's terms say. Before anything is asked, `stillhouse terms check NAME:MODEL` tells",
    "what they say, and `terms.yaml` what only you know ([docs/terms.md](terms.md)).",
    "",
    "## Teachers that choose among labels",
    "",
    "A prompt with `labels`, as those of a classification task have where a text has one label,",
    "asks for one of them. These teachers answer with that label alone and tell how probable",
    "they hold each; it is kept in `label_probabilities` of the completion, and `curate --task`",
    "makes soft labels of it. Temperature and samples do not matter to them. To all other",
    "teachers labels are no part of what they are asked.",
    "",
    "- `decisions:http(s)://host[:port]/v1#model`, key in `STILLHOUSE_API_KEY`, speaks typed",
    "  decisions: `POST {base}/decisions` with `model`, `kind` (`choice`), `input` (`messages`)",
    "  and `options` (the labels). The answer holds `id`, `object` (`decision`), `model`,",
    "  `created`, `choice` (one of the options), `probabilities` (by option, in [0, 1], at most 1",
    "  in all) and `usage` as in chat completions. Anything else is a malformed answer, and asked",
    "  for again.",
    "  Limits, refusals and waits are those of OpenAI's protocol. It is not streamed, and takes",
    "  neither tools nor a JSON Schema.",
    "- `local:` reads all labels in one pass. A label's probability is that of ending up with it",
    "  when nothing but labels may be written. With `local:PATH?answers=text`, or `top_logprobs`",
    "  above 0, it writes as for any other prompt.",
    "- `local:FOLDER` of a student that `fit` made answers with its likeliest label and its own",
    "  calibrated probabilities. It answers nothing else, and no other labels.",
)


def providers_page() -> str:
    """The table as Markdown: the text of `docs/providers.md`."""
    rows = [_row(provider) for provider in PROVIDERS.values()]
    return "\n".join((*_PAGE_HEAD, *rows, *_PAGE_TAIL, ""))


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
