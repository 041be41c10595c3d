"""What a student is and how it is trained."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record
from stillhouse.train._device_config import DeviceConfig, RayConfig
from stillhouse.train._methods import OBJECTIVES, GuideName, ObjectiveName, check_method
from stillhouse.train._preflight_config import PreflightConfig
from stillhouse.train._student_config import LoraConfig, PruneConfig


class TrainConfig(Record):
    """How to make a student from a base model and a dataset."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    objective: ObjectiveName = "forward_kl"
    """How teacher and student are compared; docs/objectives.md has them all."""
    objective_parameters: dict[str, float] = Field(default_factory=dict)
    """Numbers that the objective takes, such as `skew`; those left out have their defaults."""
    base: str = "local:"
    """Where the student starts: `local:` is the embedded teacher, `local:FOLDER` any model."""
    keep_layers: int | tuple[int, ...] | None = None
    """Prune the base to so many layers, spread evenly, or to these; null keeps all."""
    prune: PruneConfig | None = None
    """Prune inside layers too, and choose by importance; instead of `keep_layers`."""
    init: Literal["base", "random"] = "base"
    """`random` takes only shape and tokenizer from the base and draws all weights from `seed`."""
    lora: LoraConfig | None = None
    """Train a low-rank update only; null trains all weights."""
    epochs: float = Field(default=3.0, gt=0.0)
    batch_size: int = Field(default=16, ge=1)
    """Examples per optimiser step."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a step's examples are processed in, to save memory; the result is the same."""
    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Peak of AdamW's rate: linear warm-up, then linear to zero."""
    warmup_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    weight_decay: float = Field(default=0.01, ge=0.0)
    clip_norm: float = Field(default=1.0, gt=0.0)
    max_tokens: int = Field(default=2_048, ge=2)
    """Longer examples are left out and counted."""
    device: DeviceConfig = Field(default_factory=DeviceConfig)
    """Where it runs, and how exactly."""
    engine: Literal["local", "ray"] = "local"
    """`ray` trains with the workers of a Ray cluster (docs/training.md)."""
    ray: RayConfig = RayConfig()
    """How it spreads over the cluster; has no say without the engine `ray`."""
    preflight: PreflightConfig = Field(default_factory=PreflightConfig)
    """What is checked before the first step."""
    seed: int = 0
    checkpoint_s: float = Field(default=120.0, ge=0.0)
    """Seconds between checkpoints; 0 makes one after every step."""

    @property
    def guide(self) -> GuideName:
        """Who says what the student should predict."""
        return "text" if OBJECTIVES[self.objective].guides == ("text",) else "signal"

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        check_method(self.objective, "dataset", self.guide)
        return self

    @model_validator(mode="after")
    def _check_student(self) -> Self:
        if self.prune is not None and self.keep_layers is not None:
            raise ValueError("keep_layers and prune are both given; put the layers into prune")
        if self.lora is not None and self.init == "random":
            raise ValueError(
                "lora trains an update of the base's weights, but init is random; use one of them"
            )
        return self
