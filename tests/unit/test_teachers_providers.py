import re
from pathlib import Path
from typing import Any

import pytest
from dialect_cases import TOOL_TURNS, WEATHER, a_request

from stillhouse.errors import ConfigError
from stillhouse.teachers._dialects import DIALECTS
from stillhouse.teachers._providers import PROVIDERS, api_key_of, base_url_of
from stillhouse.teachers._providers_page import providers_page

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
LOCAL = {"ollama", "vllm", "llamacpp"}


def test_the_page_is_written_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == providers_page(), (
        "docs/providers.md is out of date; write providers_page() to it"
    )


def test_the_providers_that_were_promised_are_there() -> None:
    assert set(PROVIDERS) == {
        *("openai", "anthropic", "google", "xai", "deepseek", "qwen", "moonshot", "mistral"),
        *("together", "fireworks", "groq", "openrouter", "azure", *LOCAL),
    }


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_a_row_is_whole(name: str) -> None:
    provider = PROVIDERS[name]
    assert provider.name == name
    assert provider.dialect in DIALECTS
    assert set(provider.dialects) <= set(DIALECTS)
    assert (provider.key_variable is None) == (name in LOCAL)
    if provider.base_url is not None:
        scheme = "http://localhost:" if name in LOCAL else "https://"
        assert provider.base_url.startswith(scheme)
        assert not provider.base_url.endswith("/")


@pytest.mark.parametrize(
    ("name", "dialect"),
    [(name, dialect) for name, row in PROVIDERS.items() for dialect in row.dialects],
)
def test_every_provider_can_be_asked_everything_it_takes(name: str, dialect: str) -> None:
    quirks = PROVIDERS[name].quirks
    schema = '{"type":"object"}' if quirks.has_output_schema else None
    request = a_request(
        *TOOL_TURNS,
        tools=(WEATHER,),
        schema=schema,
        reasoning_effort="high",
        top_logprobs=min(2, quirks.max_top_logprobs),
    )
    body: dict[str, Any] = DIALECTS[dialect].body(request, model="m", quirks=quirks, stream=True)
    assert body["tools"]
    assert body.get("messages") or body.get("input") or body.get("contents")


def test_patterns_of_models_can_be_read() -> None:
    for provider in PROVIDERS.values():
        if provider.quirks.budget_models is not None:
            assert not re.match(provider.quirks.budget_models, "")


def test_a_variable_takes_the_place_of_the_address() -> None:
    openai = PROVIDERS["openai"]
    assert base_url_of(openai, {}) == "https://api.openai.com/v1"
    given = {"OPENAI_BASE_URL": " http://127.0.0.1:8000/v1/ "}
    assert base_url_of(openai, given) == "http://127.0.0.1:8000/v1"
    assert base_url_of(openai, {"OPENAI_BASE_URL": ""}) == "https://api.openai.com/v1"


def test_azure_has_an_address_for_each_account() -> None:
    azure = PROVIDERS["azure"]
    with pytest.raises(ConfigError, match="Set AZURE_OPENAI_ENDPOINT"):
        base_url_of(azure, {})
    for end in ("", "/", "/openai/v1", "/openai/v1/"):
        given = {"AZURE_OPENAI_ENDPOINT": f"https://n.openai.azure.com{end}"}
        assert base_url_of(azure, given) == "https://n.openai.azure.com/openai/v1"


@pytest.mark.parametrize(
    "address", ["api.example.com/v1", "ftp://x", "https://user:secret@x/v1", "https://x/v1?key=1"]
)
def test_an_address_that_is_none_is_refused_without_quoting_it(address: str) -> None:
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL is not an address") as caught:
        base_url_of(PROVIDERS["openai"], {"OPENAI_BASE_URL": address})
    assert "secret" not in str(caught.value)


def test_a_key_comes_from_the_variable_of_its_provider() -> None:
    assert api_key_of(PROVIDERS["google"], {"GEMINI_API_KEY": " k \n"}) == "k"
    assert api_key_of(PROVIDERS["vllm"], {"OPENAI_API_KEY": "k"}) is None
    with pytest.raises(ConfigError, match="Set GEMINI_API_KEY"):
        api_key_of(PROVIDERS["google"], {"OPENAI_API_KEY": "k"})


@pytest.mark.parametrize("key", ["k\u00e9y", "a\nb", "a\x00b"])
def test_a_key_that_no_header_can_carry_is_refused_without_quoting_it(key: str) -> None:
    with pytest.raises(ConfigError, match="GROQ_API_KEY holds characters") as caught:
        api_key_of(PROVIDERS["groq"], {"GROQ_API_KEY": key})
    assert key not in str(caught.value)
