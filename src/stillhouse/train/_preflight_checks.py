"""What a check is, and what the checks look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import torch

from stillhouse.artifacts import Artifact
from stillhouse.chat import ChatTokenizer
from stillhouse.errors import DataError
from stillhouse.models import LanguageModel, output_head
from stillhouse.signal import SignalReader
from stillhouse.train._preflight_config import PreflightConfig
from stillhouse.train._rows import TrainingRow

_SAMPLE_TOKENS = 768  # a forward pass over them takes about a second at 135M parameters


class Check(NamedTuple):
    """The outcome of one check.

    Attributes:
        name: What was checked.
        problem: One line, with what to do; None where all is well.
        value: What was measured, where it is a number.
        limit: What it may be at most.
        unit: Of both.
    """

    name: str
    problem: str | None = None
    value: float | None = None
    limit: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Subject:
    """What is about to be learnt, by which student.

    Attributes:
        dataset: The text.
        signal: The teacher's distributions; None for an objective that does not read them.
        student: The model that the student is made of, or the student.
        rows: All training rows, as the student reads them.
        teacher: The teacher, where its weights are at hand.
        limits: What is allowed.
    """

    dataset: Artifact
    signal: Artifact | None
    student: LanguageModel
    rows: Sequence[TrainingRow]
    teacher: LanguageModel | None
    limits: PreflightConfig

    @property
    def chat(self) -> ChatTokenizer:
        """The student's tokenizer and template."""
        return self.student.chat

    @cached_property
    def sample(self) -> list[TrainingRow]:
        """Rows spread over the dataset, which may be sorted by task; few enough to score.

        Raises:
            DataError: the student can read none.
        """
        longest = self.student.context_tokens
        readable = [row for row in self.rows if len(row.encoded.ids) <= longest]
        if not readable:
            raise DataError(
                f"{self.dataset.path} has no training example of at most {longest} tokens, which "
                f"is what {self.student.name} can read. Collect shorter ones."
            )
        wanted = min(self.limits.texts, len(readable))
        spread = [readable[index * len(readable) // wanted] for index in range(wanted)]
        num_tokens = accumulate(len(row.encoded.ids) for row in spread)
        few = [
            row for row, so_far in zip(spread, num_tokens, strict=True) if so_far <= _SAMPLE_TOKENS
        ]
        return few or spread[:1]

    @cached_property
    def own(self) -> list[TrainingRow]:
        """Those of the sample whose completions are the teacher's own tokens."""
        return [row for row in self.sample if row.has_own_tokens]

    @cached_property
    def reader(self) -> SignalReader:
        """Of the signal; there must be one."""
        assert self.signal is not None
        return SignalReader(self.signal)

    @property
    def num_ids(self) -> int:
        """Rows of the student's head."""
        return len(output_head(self.student.network))

    @property
    def is_plain_sample(self) -> bool:
        """Whether the text was drawn from the teacher as it is: nothing sharpened or cut off."""
        sampling = self.dataset.manifest.sampling
        return sampling is not None and sampling.temperature == 1.0 and sampling.top_p == 1.0

    @property
    def is_sharpened(self) -> bool:
        """Whether the text is at least as likely as a plain sample would be.

        What green lists mark is less likely, by as much as their owner wanted.
        """
        sampling, mark = self.dataset.manifest.sampling, self.dataset.manifest.watermark
        is_bent = mark is not None and mark.scheme == "kgw"
        return sampling is not None and sampling.temperature <= 1.0 and not is_bent


class Surprise:
    """How likely a model finds text, beside how likely it expects what it writes to be.

    Of tokens drawn from a model, -log p has the entropy as its mean and a variance that the model
    tells too. So whether text can be of a model needs no second opinion.

    Args:
        logprob_N: Of the tokens, nats.
        entropy_N: Of the distributions that they were drawn from.
        variance_N: Of -log p under these distributions.
    """

    def __init__(
        self, logprob_N: torch.Tensor, entropy_N: torch.Tensor, variance_N: torch.Tensor
    ) -> None:
        self.logprob_N = logprob_N
        self.nll_nats = -float(logprob_N.double().mean())
        self.excess_nats = self.nll_nats - float(entropy_N.double().mean())
        spread = float(variance_N.double().sum().sqrt()) / len(logprob_N)
        self.deviations = self.excess_nats / max(spread, 1e-9)
