"""The rule of a cascade: which requests the student answers, and what is certified of that."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.errors import DataError
from stillhouse.records import Record

Route = Literal["student", "teacher"]
Reason = Literal["confident", "unsure", "unfamiliar", "no_answer", "fallen_back"]
Bound = Literal["clopper_pearson", "betting"]


class Decision(Record):
    """Who answers a request, and why."""

    route: Route
    reason: Reason
    """`confident` goes to the student. `unsure` is below the threshold, `unfamiliar` unlike the
    training texts, `no_answer` an answer that the task does not allow; `fallen_back` says that the
    cascade is suspended."""


class CoverageEstimate(Record):
    """Share of requests, with its exact interval for the threshold as it stands."""

    value: float = Field(ge=0.0, le=1.0)
    low: float = Field(ge=0.0, le=1.0)
    high: float = Field(ge=0.0, le=1.0)


class Certificate(Record):
    """What is certified: the share of all requests that the student answers unlike the teacher.

    With `confidence`, taken over draws of the rows, that share (for graded answers the sum of 1
    minus the score) is at most 1 - target for new requests like the rows.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    target: float = Field(gt=0.0, lt=1.0)
    """Agreement of the cascade with the teacher that was asked for."""
    confidence: float = Field(ge=0.5, lt=1.0)
    n: int = Field(ge=1)
    """Independent rows that the student was not fitted to."""
    answered: int = Field(ge=0)
    """Those of them that the student answers."""
    loss: float = Field(ge=0.0)
    """Their total loss: the number of answers that differ, or the sum of 1 minus the scores."""
    bound: float = Field(ge=0.0, le=1.0)
    """Upper confidence bound on the loss of a request."""
    method: Bound
    """`clopper_pearson` for losses of 0 and 1, `betting` for graded ones."""
    coverage: CoverageEstimate
    """Share of requests that the student answers; the others are escalated."""
    refused_unfamiliar: int = Field(ge=0)
    """Rows that the gate took for strange."""

    @property
    def escalation(self) -> float:
        """Expected share of requests that go to the teacher."""
        return 1.0 - self.coverage.value


class CascadeRule(Record):
    """When the student answers: it is confident enough, and the text is familiar enough."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    threshold: float = Field(ge=0.0, le=1.0)
    """Least confidence of an answer."""
    novelty_threshold: float = Field(ge=0.0, le=1.0)
    """Greatest novelty of a text."""
    certificate: Certificate

    @property
    def target(self) -> float:
        """Certified agreement of the cascade with the teacher."""
        return self.certificate.target

    def decide(self, confidence: float | None, novelty: float) -> Decision:
        """Who answers.

        Args:
            confidence: Of the student in its answer, in [0, 1]; None where it has no answer that
                the task allows.
            novelty: Of the text, as the gate gives it.

        Raises:
            DataError: one of them is no number in [0, 1].
        """
        for name, value in (("confidence", confidence), ("novelty", novelty)):
            if value is not None and not 0.0 <= value <= 1.0:
                raise DataError(f"{name}={value} is not in [0, 1]. Give a finite number in it.")
        if confidence is None:
            return Decision(route="teacher", reason="no_answer")
        if novelty > self.novelty_threshold:
            return Decision(route="teacher", reason="unfamiliar")
        if confidence < self.threshold:
            return Decision(route="teacher", reason="unsure")
        return Decision(route="student", reason="confident")


def answer_confidence(logprobs_nats: Sequence[float]) -> float:
    """Mean probability of a text's tokens, in the geometric mean: its confidence in [0, 1].

    Args:
        logprobs_nats: Of the tokens that were written.

    Raises:
        DataError: there is no token, or one has no log-probability.
    """
    if not logprobs_nats or any(math.isnan(value) for value in logprobs_nats):
        raise DataError(
            "A text without token log-probabilities has no confidence. Ask for them, or send it "
            "to the teacher."
        )
    return math.exp(min(math.fsum(logprobs_nats) / len(logprobs_nats), 0.0))
