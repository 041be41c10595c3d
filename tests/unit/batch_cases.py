"""The three batch APIs as the tests see them: a mock provider each, and prompts for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.mock_provider import MockProvider

from stillhouse.collect import CollectConfig
from stillhouse.records import Message, Prompt
from stillhouse.teachers import Access
from stillhouse.teachers._costs import Price, Rates, Schedule


@dataclass(frozen=True)
class Api:
    """One provider and dialect.

    Attributes:
        spec: Of the teacher.
        family: The mock's name of its API.
        create_path: In the path of the call that creates a batch, and of no other POST.
        results_path: In the path of the results.
    """

    spec: str
    family: str
    variables: Mapping[str, str]
    create_path: str
    results_path: str


_OPENAI = {"OPENAI_BASE_URL": "/v1", "OPENAI_API_KEY": ""}
APIS = {
    "openai": Api("openai:mock-small", "openai", _OPENAI, "/v1/batches", "/content"),
    "responses": Api(
        "openai:mock-small?api=responses", "openai", _OPENAI, "/v1/batches", "/content"
    ),
    "anthropic": Api(
        "anthropic:mock-small",
        "anthropic",
        {"ANTHROPIC_BASE_URL": "", "ANTHROPIC_API_KEY": ""},
        "/v1/messages/batches",
        "/results",
    ),
    "google": Api(
        "google:mock-small",
        "gemini",
        {"GOOGLE_GEMINI_BASE_URL": "", "GEMINI_API_KEY": ""},
        ":batchGenerateContent",
        ":download",
    ),
}
WIRES = ("openai", "anthropic", "google")
KEY = "test-key"
# Half price in batches: USD per million tokens.
PRICE = Price(Schedule(Rates(2.0, 8.0)), {"batch": Schedule(Rates(1.0, 4.0))})


def variables_of(api: Api, provider: MockProvider) -> dict[str, str]:
    """The environment in which `api.spec` asks `provider`."""
    return {
        name: KEY if name.endswith("KEY") else provider.url + path
        for name, path in api.variables.items()
    }


def point_at(monkeypatch: pytest.MonkeyPatch, api: Api, provider: MockProvider) -> None:
    """Have `api.spec` ask `provider`."""
    for name, value in variables_of(api, provider).items():
        monkeypatch.setenv(name, value)


def access_with_prices() -> Access:
    """Prices of the mock's model at all three."""
    return Access(prices={f"{name}/mock-small": PRICE for name in WIRES})


def some_prompts(num: int = 12, text: str = "rain number") -> list[Prompt]:
    return [
        Prompt(id=f"p{at}", messages=(Message(role="user", content=f"{text} {at} of the day"),))
        for at in range(num)
    ]


def batch_config(**access: Any) -> CollectConfig:
    """Batches of five, looked at all the time."""
    given = {"tier": "batch", "batch_wait_s": 0.02, "batch_size": 5, **access}
    return CollectConfig.model_validate({"access": given, "sampling": {"max_tokens": 64}})


def jobs_of(provider: MockProvider, api: Api) -> list[Any]:
    """The batches that the provider has."""
    return list(provider.world.jobs[api.family].values())


def num_asked(provider: MockProvider, api: Api) -> int:
    """Requests in all batches together."""
    return sum(len(job.requests) for job in jobs_of(provider, api))
