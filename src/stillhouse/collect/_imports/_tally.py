"""What an import read, kept and left out."""

from collections import Counter
from dataclasses import dataclass, field

from stillhouse.collect._imports._exchange import BadRowError
from stillhouse.records import Completion, Usage


@dataclass
class Tally:
    """Counts and sums over the rows so far.

    Attributes:
        first_bad: Place and problem of the first row that could not be read.
        dropped: Rows left out, by reason.
        scrubbed: What was replaced, by kind.
        models: Completions by the model that answered.
        usage: Of all completions together.
    """

    num_rows: int = 0
    num_bad: int = 0
    first_bad: str = ""
    dropped: Counter[str] = field(default_factory=Counter)
    scrubbed: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=lambda: Usage(cost_usd=0.0))

    def add_bad(self, where: str, err: BadRowError) -> None:
        """Count a row that cannot be read."""
        self.num_bad += 1
        self.first_bad = self.first_bad or f"{where}: {err}"
        self.dropped[err.reason] += 1

    def add(self, completion: Completion) -> None:
        """Count a completion; a single unknown price makes the whole cost unknown."""
        self.models[completion.model] += 1
        new, old = completion.usage, self.usage
        is_known = new.cost_usd is not None and old.cost_usd is not None
        self.usage = Usage(
            prompt_tokens=old.prompt_tokens + new.prompt_tokens,
            completion_tokens=old.completion_tokens + new.completion_tokens,
            cached_prompt_tokens=old.cached_prompt_tokens + new.cached_prompt_tokens,
            cache_write_tokens=old.cache_write_tokens + new.cache_write_tokens,
            reasoning_tokens=old.reasoning_tokens + new.reasoning_tokens,
            audio_tokens=old.audio_tokens + new.audio_tokens,
            cost_usd=(old.cost_usd or 0.0) + (new.cost_usd or 0.0) if is_known else None,
        )
