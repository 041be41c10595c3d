"""Providers by name, one row each: adding one is adding a row.

Keys come from the environment and go nowhere else.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from stillhouse.errors import ConfigError
from stillhouse.teachers._dialects import Quirks


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider answers and how it wants to be asked.

    Attributes:
        name: Its scheme in a teacher spec, `name:model`.
        title: What people call it.
        base_url: What the dialect's path follows; None where each account has its own.
        dialects: Keys of `DIALECTS` that it speaks, the usual one first.
        base_url_variable: Environment variable that takes the place of `base_url`.
        key_variable: Environment variable of the key; None for servers that ask for none.
        quirks: Where it differs from other hosts of its dialect.
        concurrency: Requests under way at once where no setting says otherwise.
        base_url_suffix: What follows the address in `base_url_variable`, if it is not there yet.
        note: What a user should know, one sentence.
    """

    name: str
    title: str
    base_url: str | None
    dialects: tuple[str, ...]
    base_url_variable: str
    key_variable: str | None
    quirks: Quirks = field(default_factory=Quirks)
    concurrency: int = 32  # not tuned; the window of the gate finds what an account allows
    base_url_suffix: str = ""
    note: str = ""

    @property
    def dialect(self) -> str:
        """The dialect that is spoken where nothing else is asked for."""
        return self.dialects[0]


_CHAT = ("openai_chat",)
_OPENAI = ("openai_chat", "openai_responses")
_OPENAI_QUIRKS = Quirks(
    max_tokens_field="max_completion_tokens",
    states_defaults=False,
    reasoning_summary="auto",
    stream_options={"include_usage": True, "include_obfuscation": False},
)
# The server samples with top_k 40 and min_p 0.05 unless told: another distribution than asked for.
_LLAMACPP_EXTRA = {"top_k": 0, "min_p": 0.0}

_ROWS = (
    Provider(
        name="openai",
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        dialects=_OPENAI,
        base_url_variable="OPENAI_BASE_URL",
        key_variable="OPENAI_API_KEY",
        quirks=_OPENAI_QUIRKS,
        note="Log-probabilities only without reasoning; summaries of reasoning in the Responses "
        "API only. Has a batch tier.",
    ),
    Provider(
        name="anthropic",
        title="Anthropic",
        base_url="https://api.anthropic.com",
        dialects=("anthropic",),
        base_url_variable="ANTHROPIC_BASE_URL",
        key_variable="ANTHROPIC_API_KEY",
        quirks=Quirks(
            seed_field=None,
            states_defaults=False,
            max_top_logprobs=0,
            budget_models=r"claude-3|claude-[a-z]+-4(-[0-5])?(-20\d{6})?$",
        ),
        note="No seeds; newer models take neither temperature nor top_p: leave both at 1. Has a "
        "batch tier.",
    ),
    Provider(
        name="google",
        title="Google Gemini",
        base_url="https://generativelanguage.googleapis.com",
        dialects=("gemini",),
        base_url_variable="GOOGLE_GEMINI_BASE_URL",
        key_variable="GEMINI_API_KEY",
        quirks=Quirks(budget_models=r"(models/)?gemini-2"),
        note="Some models refuse log-probabilities; where given, they come with token ids. Has a "
        "batch tier.",
    ),
    Provider(
        name="xai",
        title="xAI (Grok)",
        base_url="https://api.x.ai/v1",
        dialects=_OPENAI,
        base_url_variable="XAI_BASE_URL",
        key_variable="XAI_API_KEY",
        quirks=Quirks(max_tokens_field="max_completion_tokens", max_top_logprobs=8),
        note="Limits requests per second; states the cost of each answer.",
    ),
    Provider(
        name="deepseek",
        title="DeepSeek",
        base_url="https://api.deepseek.com",
        dialects=_CHAT,
        base_url_variable="DEEPSEEK_BASE_URL",
        key_variable="DEEPSEEK_API_KEY",
        quirks=Quirks(
            seed_field=None,
            echoes_reasoning="with_tool_calls",
            effort_form="thinking_effort",
            has_output_schema=False,
        ),
        concurrency=256,
        note="Limits requests under way, not per minute; ignores temperature while it thinks.",
    ),
    Provider(
        name="qwen",
        title="Alibaba Qwen (international)",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        dialects=_CHAT,
        base_url_variable="DASHSCOPE_BASE_URL",
        key_variable="DASHSCOPE_API_KEY",
        quirks=Quirks(effort_form="enable_thinking", max_top_logprobs=5),
        note="An effort is on or off only; keys belong to one region.",
    ),
    Provider(
        name="moonshot",
        title="Moonshot Kimi",
        base_url="https://api.moonshot.ai/v1",
        dialects=_CHAT,
        base_url_variable="MOONSHOT_BASE_URL",
        key_variable="MOONSHOT_API_KEY",
        quirks=Quirks(
            max_tokens_field="max_completion_tokens",
            seed_field=None,
            states_defaults=False,
            echoes_reasoning="always",
            effort_form="thinking_effort",
            max_top_logprobs=0,
        ),
        note="Kimi models fix temperature and top_p themselves: leave both at 1.",
    ),
    Provider(
        name="mistral",
        title="Mistral",
        base_url="https://api.mistral.ai/v1",
        dialects=_CHAT,
        base_url_variable="MISTRAL_BASE_URL",
        key_variable="MISTRAL_API_KEY",
        quirks=Quirks(seed_field="random_seed", max_top_logprobs=0, stream_options={}),
    ),
    Provider(
        name="together",
        title="Together AI",
        base_url="https://api.together.xyz/v1",
        dialects=_CHAT,
        base_url_variable="TOGETHER_BASE_URL",
        key_variable="TOGETHER_API_KEY",
        quirks=Quirks(has_integer_logprobs=True),
    ),
    Provider(
        name="fireworks",
        title="Fireworks AI",
        base_url="https://api.fireworks.ai/inference/v1",
        dialects=_CHAT,
        base_url_variable="FIREWORKS_BASE_URL",
        key_variable="FIREWORKS_API_KEY",
        quirks=Quirks(max_top_logprobs=5),
    ),
    Provider(
        name="groq",
        title="Groq",
        base_url="https://api.groq.com/openai/v1",
        dialects=_CHAT,
        base_url_variable="GROQ_BASE_URL",
        key_variable="GROQ_API_KEY",
        quirks=Quirks(max_tokens_field="max_completion_tokens", max_top_logprobs=0),
        note="Its limit headers count requests per day and tokens per minute.",
    ),
    Provider(
        name="openrouter",
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        dialects=_CHAT,
        base_url_variable="OPENROUTER_BASE_URL",
        key_variable="OPENROUTER_API_KEY",
        quirks=Quirks(
            reasoning_field="reasoning",
            echoes_reasoning="with_tool_calls",
            effort_form="reasoning",
        ),
        note="States the cost of each answer; may route to another host than the model's maker.",
    ),
    Provider(
        name="azure",
        title="Azure OpenAI",
        base_url=None,
        dialects=_OPENAI,
        base_url_variable="AZURE_OPENAI_ENDPOINT",
        key_variable="AZURE_OPENAI_API_KEY",
        quirks=_OPENAI_QUIRKS,
        base_url_suffix="/openai/v1",
        note="The model is the name of a deployment.",
    ),
    Provider(
        name="ollama",
        title="Ollama",
        base_url="http://localhost:11434/v1",
        dialects=_CHAT,
        base_url_variable="OLLAMA_BASE_URL",
        key_variable=None,
        concurrency=4,
        note="Local; what Sampling lacks stays as the server sets it.",
    ),
    Provider(
        name="vllm",
        title="vLLM",
        base_url="http://localhost:8000/v1",
        dialects=_OPENAI,
        base_url_variable="VLLM_BASE_URL",
        key_variable=None,
        concurrency=64,
        note="Local; start it with --max-logprobs for more than 20.",
    ),
    Provider(
        name="llamacpp",
        title="llama.cpp server",
        base_url="http://localhost:8080/v1",
        dialects=_CHAT,
        base_url_variable="LLAMACPP_BASE_URL",
        key_variable=None,
        quirks=Quirks(extra=_LLAMACPP_EXTRA),
        concurrency=4,
        note="Local; its top_k and min_p are switched off.",
    ),
)

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ROWS}
"""Every provider by its name."""


def base_url_of(provider: Provider, environ: Mapping[str, str]) -> str:
    """Where `provider` answers, without a slash at the end: its variable wins over the table.

    Raises:
        ConfigError: the account's own address is needed and not set, or it is none.
    """
    variable = provider.base_url_variable
    given = environ.get(variable, "").strip().rstrip("/")
    if not given:
        if provider.base_url is None:
            raise ConfigError(
                f"Provider {provider.name!r} has an address for each account. "
                f"Set {variable}, e.g. to https://NAME.openai.azure.com."
            )
        return provider.base_url
    if not given.startswith(("http://", "https://")) or "?" in given or "@" in given:
        raise ConfigError(
            f"{variable} is not an address such as https://host/path (without user, password "
            "or query). Correct it, or unset it."
        )
    suffix = provider.base_url_suffix
    return given if given.endswith(suffix) else given + suffix


def api_key_of(provider: Provider, environ: Mapping[str, str]) -> str | None:
    """The key of `provider`, None for one that asks for none.

    Raises:
        ConfigError: it is not set, or no HTTP header can carry it.
    """
    variable = provider.key_variable
    if variable is None:
        return None
    key = environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"Provider {provider.name!r} needs a key. Set {variable} in the environment; "
            "it is never written anywhere."
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"{variable} holds characters that no HTTP header can carry. Copy the key again."
        )
    return key


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
