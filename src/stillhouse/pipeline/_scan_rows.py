"""The rows of a log: every distinct prompt once, with all that was answered to it."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.collect import ImportConfig, import_completions
from stillhouse.errors import ConfigError
from stillhouse.records import Completion, Prompt
from stillhouse.runlog import Listener

_COMPLETIONS = "completions"


@dataclass(frozen=True)
class LoggedPrompt:
    """One distinct prompt of a log.

    Attributes:
        prompt: What was asked.
        completions: What was answered, errors left out.
    """

    prompt: Prompt
    completions: tuple[Completion, ...]

    @property
    def cost_usd(self) -> float | None:
        """Of one call, on average; None where no price is known."""
        costs = [one.usage.cost_usd for one in self.completions if one.usage.cost_usd is not None]
        return sum(costs) / len(costs) if costs else None

    @property
    def num_earlier_turns(self) -> int:
        """Answers of the assistant that the prompt repeats."""
        return sum(message.role == "assistant" for message in self.prompt.messages)


@dataclass
class Traffic:
    """What a log holds, counted over all of it.

    Attributes:
        num_prompts: Distinct prompts.
        num_calls: Completions that are no errors.
        num_errors: Completions that are.
        models: Calls by what answered.
        cost_usd: Of all calls with a known price.
        num_priced: Calls with a known price.
        first_utc: Time of the first call.
        last_utc: Time of the last call.
        sample: The prompts that are looked at, in the order of their hashes.
    """

    num_prompts: int = 0
    num_calls: int = 0
    num_errors: int = 0
    models: Counter[str] = field(default_factory=Counter)
    cost_usd: float = 0.0
    num_priced: int = 0
    first_utc: datetime | None = None
    last_utc: datetime | None = None
    sample: list[LoggedPrompt] = field(default_factory=list)

    def add(self, completion: Completion) -> None:
        """Count a completion."""
        if completion.error is not None:
            self.num_errors += 1
            return
        self.num_calls += 1
        self.models[completion.model or completion.teacher] += 1
        if completion.usage.cost_usd is not None:
            self.cost_usd += completion.usage.cost_usd
            self.num_priced += 1
        when = completion.created_utc
        self.first_utc = when if self.first_utc is None else min(self.first_utc, when)
        self.last_utc = when if self.last_utc is None else max(self.last_utc, when)


@contextmanager
def opened_log(log: Path, out: Path | None, on_progress: Listener) -> Iterator[Artifact]:
    """The completions in `log`: an artefact, or whatever `import` reads.

    Args:
        log: A completions artefact, a ledger or an export.
        out: Folder that keeps what was imported; None keeps it while the block runs only.
        on_progress: Told about rows that are imported.

    Raises:
        ConfigError: nothing that can be read is there.
        DataError: it holds no answer.
    """
    if log.is_dir():
        yield _completions(log)
        return
    with TemporaryDirectory(prefix="stillhouse-scan-") as temporary:
        folder = (out or Path(temporary)) / _COMPLETIONS
        config = ImportConfig()
        yield import_completions(log, folder, config=config, replace=True, on_progress=on_progress)


def _completions(folder: Path) -> Artifact:
    artifact = open_artifact(folder)
    if artifact.manifest.kind != "completions":
        raise ConfigError(
            f"{folder} is a {artifact.manifest.kind} artefact; a scan reads completions. Give the "
            "folder that collect or import wrote, a ledger or an export."
        )
    return artifact


def read_traffic(artifact: Artifact, *, max_prompts: int, seed: int) -> Traffic:
    """Count all rows, and keep those of the prompts with the smallest hashes.

    The sample does not depend on the order of the rows, and a larger one holds a smaller one.
    Only the sample is held in memory. Prompts without an answer are counted and not kept.
    """
    traffic = Traffic()
    smallest: list[tuple[int, str]] = []  # a heap, the largest hash first
    for prompt in artifact.rows("prompts", Prompt):
        traffic.num_prompts += 1
        entry = (-stable_number(seed, prompt.id), prompt.id)
        if len(smallest) < max_prompts:
            heapq.heappush(smallest, entry)
        else:
            heapq.heappushpop(smallest, entry)
    wanted = [prompt_id for _, prompt_id in sorted(smallest, reverse=True)]
    answers: dict[str, list[Completion]] = {prompt_id: [] for prompt_id in wanted}
    for completion in artifact.rows("completions", Completion):
        traffic.add(completion)
        if completion.prompt_id in answers and completion.error is None:
            answers[completion.prompt_id].append(completion)
    prompts = {
        prompt.id: prompt for prompt in artifact.rows("prompts", Prompt) if prompt.id in answers
    }
    traffic.sample = [
        LoggedPrompt(prompts[prompt_id], tuple(answers[prompt_id]))
        for prompt_id in wanted
        if answers[prompt_id]
    ]
    return traffic


def stable_number(seed: int, name: str) -> int:
    """A 64-bit number of `name`, the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")
