"""How each kind of student is made; every default is used for every task."""

from typing import Self

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
