"""Teachers behind the mock provider, one for each dialect, for the tests of API teachers."""

from dataclasses import dataclass
from typing import Any

import pytest
from batch_cases import APIS, access_with_prices, point_at
from tests.mock_provider import MockProvider

from stillhouse.records import Request
from stillhouse.runlog import Answer
from stillhouse.teachers import Access, Teacher, open_teacher
from stillhouse.teachers._api import ApiTeacher

DIALECT_OF = {
    "openai": "openai_chat",
    "responses": "openai_responses",
    "anthropic": "anthropic",
    "google": "gemini",
}
NAMES = list(DIALECT_OF)
PRICES = access_with_prices().prices


@dataclass(frozen=True)
class Bench:
    """Opens teachers of the mock provider."""

    provider: MockProvider
    monkeypatch: pytest.MonkeyPatch

    def open(self, name: str, **access: Any) -> ApiTeacher:
        """The teacher of one API; to be closed."""
        point_at(self.monkeypatch, APIS[name], self.provider)
        teacher = open_teacher(APIS[name].spec, Access(**{"prices": PRICES, **access}))
        assert isinstance(teacher, ApiTeacher)
        return teacher


def by_prompt(teacher: Teacher, requests: list[Request], found: list[Answer]) -> dict[str, Answer]:
    """The answers by the prompt's id; each request has exactly one."""
    prompts = {request.id: request.prompt_id for request in requests}
    assert sorted(answer.request_id for answer in found) == sorted(prompts)
    return {prompts[answer.request_id]: answer for answer in found}


def cost_of(prompt_tokens: int, completion_tokens: int) -> float:
    """What the mock's model costs, USD: 2 and 8 for a million tokens."""
    return (prompt_tokens * 2.0 + completion_tokens * 8.0) / 1e6
