"""A provider on a loopback port that speaks four dialects, typed decisions and their batch APIs.

`MockProvider` runs in a thread of the test, `MockProcess` in a process of its own, also from the
shell: `python -m tests.mock_provider`. What it answers is a function of the request (`answers`),
what goes wrong is said by `Fault`s, what is allowed by `Limits`.
"""

from tests.mock_provider.answers import headline, text_of
from tests.mock_provider.exchange import Logged
from tests.mock_provider.faults import AFTER_WORK, BEFORE_WORK, REFUSALS, Fault
from tests.mock_provider.process import MockProcess
from tests.mock_provider.server import MockProvider
from tests.mock_provider.settings import BatchSettings, Latency, Limits, Settings
from tests.mock_provider.tokens import OUTSIDE_TOP, logprob_of, tokenize, top_of

__all__ = [
    "MockProvider",
    "MockProcess",
    "Settings",
    "Limits",
    "Latency",
    "BatchSettings",
    "Fault",
    "REFUSALS",
    "BEFORE_WORK",
    "AFTER_WORK",
    "Logged",
    "headline",
    "text_of",
    "tokenize",
    "logprob_of",
    "top_of",
    "OUTSIDE_TOP",
]
