"""How students of a task are judged."""

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class TaskEvaluateConfig(Record):
    """How students of a task are judged on its held-out messages."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    max_rows: int | None = Field(default=None, ge=2)
    """Judge on so many held-out messages, chosen by the hash of their ids; null takes all."""
    min_rows: int = Field(default=20, ge=2)
    """Refuse to judge on fewer independent held-out messages (or groups of them)."""
    allow_contamination: bool = False
    """Judge although held-out messages repeat training ones, or nobody has looked whether they do.
    The report then says so."""
    student: str | None = None
    """The student that the report is about; null chooses by what trainings measured on validation
    rows."""
    latency_messages: int = Field(default=200, ge=0)
    """Messages that each system answers one at a time, against the clock; 0 leaves it out."""
    batch_size: int = Field(default=64, ge=1)
    """Messages that are answered together, for throughput."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of an answer that a language model writes; null takes the teacher's limit."""
    constrain: bool = True
    """Hold the answers of language models to the labels or the schema of the task."""
    usd_per_core_hour: float = Field(default=0.05, ge=0.0, allow_inf_nan=False)
    """Price of one core for one hour, of which students' costs are made. Of the order of what
    clouds ask on demand; put in your own."""
    teacher_usd_per_1000: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Price of 1,000 answers of the teacher; null takes what its calls were logged to cost."""
    num_failures: int = Field(default=12, ge=0)
    """Answers that differ from the teacher's and are shown, chosen by the hash of their ids."""
    num_worst_labels: int = Field(default=10, ge=1)
    """Labels with the lowest recall that are shown with intervals."""
    num_confused_pairs: int = Field(default=10, ge=0)
    """Pairs of labels that are shown, the most confused first."""
    num_bins: int = Field(default=10, ge=2, le=50)
    """Bins of confidence in the calibration curve, of equally many messages."""
    num_resamples: int = Field(default=2_000, ge=100)
    """Bootstrap resamples behind each interval that is bootstrapped."""
    seed: int = 0
    """Of the bootstrap, and of the n-gram baseline."""
