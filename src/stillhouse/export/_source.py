"""What is exported: an open student, with what every format of it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stillhouse.artifacts import Artifact
from stillhouse.chat import with_tools
from stillhouse.errors import RecordError
from stillhouse.export._config import ExportConfig
from stillhouse.export._fixtures import fixture_conversations
from stillhouse.export._probe import ProbeText, built_in_probe, data_probe
from stillhouse.models import LanguageModel
from stillhouse.records import Example, Message, Tool


@dataclass(frozen=True)
class Conversation:
    """A fixture and the ids that training and serving make of it."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True)
class LanguageSource:
    """A student that is a language model.

    Attributes:
        artifact: It on disk.
        model: It in memory.
        config: What is asked for.
        dataset: What its metric is measured on; None without `--data`.
    """

    artifact: Artifact
    model: LanguageModel
    config: ExportConfig
    dataset: Artifact | None

    @cached_property
    def conversations(self) -> Sequence[Conversation]:
        """The fixtures that the student's template takes."""
        found = []
        chat = self.model.chat
        for fixture in fixture_conversations():
            messages, tools = with_tools(fixture.messages, fixture.tools, chat.reads_tools)
            try:
                ids = chat.encode_prompt(messages, tools)
            except RecordError:  # no system turn, or a text that is a control token of this one
                continue
            found.append(Conversation(messages, tools, ids))
        return found

    @cached_property
    def probe(self) -> list[ProbeText]:
        """Text with the student's distributions."""
        num_positions = self.config.positions
        if self.dataset is None:
            return built_in_probe(self.model, num_positions)
        return data_probe(self.model, self.dataset.rows("examples", Example), num_positions)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest text of the probe, and of one more."""
        return max(len(text.ids) for text in self.probe) + 1

    @property
    def weights_dir(self) -> Path:
        """The folder that `transformers` opens."""
        return self.artifact.path
