"""What a student is made of: settings that load without torch."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class PruneConfig(Record):
    """What of the base's layers stays; null keeps all."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    layers: int | tuple[int, ...] | None = None
    """So many layers, or those at these indices."""
    heads: int | None = None
    """Query heads of a layer; those that share keys and values stay or go together."""
    mlp: int | None = None
    """Neurons of a layer's MLP."""
    hidden: int | None = None
    """Channels between the layers, embedding and head included."""
    importance: Literal["even", "cosine", "loss"] = "even"
    """How a number of layers is chosen: spread evenly, those that turn the hidden states most, or
    those whose absence costs the most loss. Heads, neurons and channels stay by their activity."""
    texts: int = Field(default=128, ge=1)
    """Training examples that importance is measured on."""


class LoraConfig(Record):
    """Train a low-rank update of the weights only."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    """The update counts alpha / rank."""
    targets: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Linear layers that get one, such as `q_proj`; null for all but the head."""
    save_adapter: bool = False
    """Keep the update by itself too, in `adapter/`; the student has it merged in any case."""
