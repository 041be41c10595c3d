"""The parts of an evaluation's results: figures with what they rest on, systems, comparisons.

Every measured quantity is a `TaskEstimate`. What was not measured is None, never 0.
"""

from typing import Annotated, Literal

from pydantic import Field

from stillhouse.evaluate._results import Estimate
from stillhouse.records import Record
from stillhouse.statistics import Verdict

Method = Literal[
    "wilson", "score", "exact", "bootstrap", "bounds", "order_statistics", "formula", "price"
]
"""How an interval was made.

`wilson` and `score` (Tango) are the score intervals of fractions and of paired differences of
fractions, where messages are independent; `exact` is Clopper and Pearson's, over groups where there
are any; `bootstrap` is BCa over groups, or messages that stand alone; `bounds` is what scores
in [0, 1] allow where a bootstrap says nothing; `order_statistics` is of quantiles; `formula` has a
standard error in closed form; `price` was given and not measured.
"""

SystemRole = Literal["teacher", "student", "majority", "copy", "ngram", "base"]
"""Who answers: `majority` gives the most frequent answer of the training rows, `copy` the message
itself, `ngram` is a linear model on n-grams, `base` a student's model before any training."""

AnsweredBy = Literal[
    "recorded",
    "constant",
    "classifier",
    "names",
    "label_trie",
    "constrained_labels",
    "json",
    "text",
]
"""How answers come about: by the teacher's record; always the same (or the message); a classifier;
the label whose name is nearest to the message; the probabilities that a model writes each label;
the label that it ends up with when it may write nothing else; generation that is held to the
schema; free generation that is then read."""

Metric = Literal["gold", "agreement"]
"""The score against the right answer, or against the teacher's."""

Family = Literal["teacher", "baselines", "students", "confirmation", "self_agreement"]
"""Comparisons that are made for one purpose, and share their errors."""

_NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]


class TaskEstimate(Estimate):
    """A measured value, its 95 % interval, how many messages it rests on, and the method."""

    method: Method


class Latency(Record):
    """Time from a message to its answer, one at a time."""

    median_s: TaskEstimate
    p95_s: TaskEstimate | None
    """None where too few messages were timed to bound it: it takes 72."""
    mean_s: TaskEstimate
    num_threads: int | None = Field(ge=1)
    """Cores that it may use; None where it ran elsewhere."""
    is_logged: bool
    """Whether these are the times of the teacher's calls, in whatever batches and queues."""


class Validation(Record):
    """What a student's own training measured on rows that it did not learn from."""

    agreement: _Share
    """With the teacher."""
    low: _Share
    high: _Share
    n: int = Field(ge=1)


class ReliabilityBin(Record):
    """Messages of like confidence."""

    confidence: _Share
    """Mean confidence of the answers."""
    agreement: TaskEstimate
    """Their mean score against the teacher."""


class RiskPoint(Record):
    """What is left of the errors when only the surest answers are given."""

    coverage: _Share
    """Share of messages that are answered."""
    threshold: _Share
    """Confidence from which on they are."""
    risk: TaskEstimate
    """1 minus their mean score against the teacher."""


class Calibration(Record):
    """What a student's confidence is worth."""

    bins: tuple[ReliabilityBin, ...] = Field(min_length=1)
    calibration_error: TaskEstimate | None
    """Expected calibration error; None where a confidence is no probability of being right."""
    auroc: TaskEstimate | None
    """Chance that an answer like the teacher's has more confidence than one unlike it; None where
    all answers are of one kind."""
    risk_coverage: tuple[RiskPoint, ...]


class LabelResult(Record):
    """One label of a classification."""

    label: str
    recall: TaskEstimate
    """Of the messages that the teacher gave the label, those that the system gives it."""


class LabelCount(Record):
    """One label, for the strip of all."""

    label: str
    n: _Count
    """Messages that the teacher gave the label."""
    same: _Count
    """Those of them that the student gives it."""


class ConfusedPair(Record):
    """Two labels that a student takes for each other."""

    teacher: str
    student: str
    count: int = Field(ge=1)
    n: int = Field(ge=1)
    """Messages that the teacher gave its label."""


class FieldResult(Record):
    """One field of an extraction."""

    field: str
    agreement: TaskEstimate | None
    """Equal to the teacher's, of the messages where both or one of them has it."""
    gold: TaskEstimate | None


class TextResult(Record):
    """What free text looks like."""

    score_counts: tuple[_Count, ...]
    """Messages by score against the teacher, in tenths of the range from 0 to 1."""
    looping: TaskEstimate
    """Share of texts that hold one 3-gram of words at least three times."""
    words: TaskEstimate | None
    """Mean number of words."""
    teacher_words: TaskEstimate | None
    """That of the teacher's texts to the same messages."""


class SystemResult(Record):
    """One system of the evaluation. The teacher's agreement with itself is no part of it."""

    name: str = Field(min_length=1)
    role: SystemRole
    kind: str = ""
    """Of students: `ngram`, `embedding`, `encoder` or `language model`."""
    answered_by: AnsweredBy
    agreement: TaskEstimate | None
    """Mean score against the teacher's answers; None for the teacher."""
    gold: TaskEstimate | None
    """Mean score against the right answers; None where there are none."""
    kappa: TaskEstimate | None = None
    """Agreement beyond chance (Cohen); None for the teacher and for answers other than labels."""
    valid: TaskEstimate
    """Share of answers that the task allows."""
    problems: dict[str, _Count] = Field(default_factory=dict)
    """Invalid answers by what is wrong with them."""
    latency: Latency | None = None
    per_second: TaskEstimate | None = None
    """Messages answered per second; n is the number of batches."""
    num_parameters: _Count | None = None
    num_bytes: _Count | None = None
    """On disk."""
    training_seconds: _NonNegative | None = None
    training_usd: _NonNegative | None = None
    """Those seconds at the price of the cores."""
    usd_per_1000: TaskEstimate | None = None
    """Cost of 1,000 answers."""
    validation: Validation | None = None
    calibration: Calibration | None = None
    worst_labels: tuple[LabelResult, ...] = ()
    labels: tuple[LabelCount, ...] = ()
    confused: tuple[ConfusedPair, ...] = ()
    fields: tuple[FieldResult, ...] = ()
    document: FieldResult | None = None
    """The whole of an extraction, equal in all fields."""
    text: TextResult | None = None

    def quality(self, metric: Metric) -> TaskEstimate | None:
        """The score by one of the metrics."""
        return self.gold if metric == "gold" else self.agreement


class TaskComparison(Record):
    """Two systems on the same messages, with one verdict on the first."""

    family: Family
    metric: Metric
    a: str
    b: str
    difference: TaskEstimate
    """a minus b."""
    margin: _NonNegative
    verdict: Verdict
    """Of `a`, after Holm's correction over the family; what it does not let stand is inconclusive
    or the weaker claim that it does."""
    verdict_alone: Verdict
    """The same as if this were the only comparison, from the interval."""
    p_non_inferior: _Share
    p_superior: _Share
    p_different: _Share
    p_non_inferior_holm: _Share
    p_superior_holm: _Share
    p_different_holm: _Share
    discordance: _Share | None = None
    """Share of messages on which one is right and the other is not; None for graded scores."""
    n_needed: int | None = Field(default=None, ge=1)
    """Where it is inconclusive: messages that would settle it if all else stays as observed; None
    where no number would."""


class SelfAgreement(Record):
    """How often the teacher gives the answer that it gave before."""

    agreement: TaskEstimate | None
    """Mean score of one of its answers against another to the same message."""
    why_not: str = ""
    """What to do to have it measured."""
    student_agreement: TaskEstimate | None = None
    """That of the student against one such answer, on the same messages."""


class LearningPoint(Record):
    """A student trained on part of the teacher's answers."""

    num_answers: int = Field(ge=1)
    agreement: Estimate
    """With the teacher, on the same held-out messages for every point."""
    is_predicted: bool = False
    """Whether it was read off a curve and not measured."""


class BreakEven(Record):
    """From how many requests on the student has paid for itself."""

    fixed_usd: _NonNegative
    """Spent before the first request: the teacher's answers and the training."""
    teacher_usd_per_1000: _NonNegative
    student_usd_per_1000: _NonNegative
    requests: int | None = Field(default=None, ge=0)
    """None where the student is no cheaper."""
    requests_low: int | None = Field(default=None, ge=0)
    """At the ends of the two costs' intervals that favour the student."""
    requests_high: int | None = Field(default=None, ge=0)
    """At the other ends; None where it would then be no cheaper."""


class FailureRow(Record):
    """One message that the student answers unlike the teacher."""

    prompt_id: str
    text: str
    teacher: str
    student: str | None
    problem: str | None = None
    """What is wrong with an answer that the task does not allow."""
    confidence: _Share | None = None
    reference: str | None = None
    """The right answer, where somebody has written it down."""
