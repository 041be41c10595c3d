"""A mock provider for every test of the official SDKs."""

from collections.abc import Iterator

import pytest
from tests.mock_provider import MockProvider


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    """A provider without faults or limits."""
    with MockProvider() as provider:
        yield provider
