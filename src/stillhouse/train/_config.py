"""What a student is and how it is trained."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record
from stillhouse.train._black_box_config import AdversarialConfig, PreferenceConfig
from stillhouse.train._contrast_config import ContrastConfig
from stillhouse.train._cross_config import CrossConfig
from stillhouse.train._device_config import DeviceConfig, RayConfig
from stillhouse.train._diagnose_config import DiagnoseConfig
from stillhouse.train._live_config import LiveConfig
from stillhouse.train._match_config import MatchConfig
from stillhouse.train._methods import (
    OBJECTIVES,
    GuideName,
    ObjectiveName,
    SourceName,
    check_method,
    check_rollouts,
)
from stillhouse.train._preflight_config import PreflightConfig
from stillhouse.train._rollout_config import RolloutConfig
from stillhouse.train._student_config import LoraConfig, PruneConfig


class TrainConfig(Record):
    """How to make a student from a base model and a dataset."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    objective: ObjectiveName = "forward_kl"
    """How teacher and student are compared; docs/objectives.md has them all."""
    objective_parameters: dict[str, float] = Field(default_factory=dict)
    """Numbers that the objective takes, such as `skew`; those left out have their defaults."""
    source: SourceName = "dataset"
    """Whose texts the student reads on while it learns: those of the dataset, `rollouts` of its
    own, both (`mixed`), or its own with a teacher that corrects them (`speculative`). `pairs` is
    for the objectives `preference` and `distillm2`, `rated` for `adversarial`."""
    live: LiveConfig | None = None
    """Teachers that are asked in every step, instead of a captured signal."""
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    """How the student's own texts are drawn."""
    preference: PreferenceConfig = Field(default_factory=PreferenceConfig)
    """How the source `pairs` is compared by the objective `preference`."""
    contrast: ContrastConfig = Field(default_factory=ContrastConfig)
    """How it is by `distillm2`."""
    adversarial: AdversarialConfig = Field(default_factory=AdversarialConfig)
    """How the source `rated` is rated."""
    equal_prompts: bool = False
    """Let each prompt count alike, however many answers to it the dataset has."""
    diagnose: DiagnoseConfig | None = None
    """Measure the student on its own texts while it learns; null does not."""
    match: MatchConfig | None = None
    """Bring hidden states to a live teacher's too; null does not."""
    cross: CrossConfig = Field(default_factory=CrossConfig)
    """How to learn from the signal of a teacher with another tokenizer."""
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
    batch_tokens: int | None = Field(default=None, ge=2)
    """Tokens per optimiser step, padding included, instead of `batch_size` examples."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a step's examples are processed in, to save memory; the result is the same."""
    part_tokens: int | None = Field(default=None, ge=2)
    """Most tokens of a part, padding included; examples of like length come together. Null takes
    1024 on the CPU, where that is fastest, and all at once on a GPU."""
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
    terms: str | None = Field(default=None, exclude=True)
    """File that declares what the student is for (docs/terms.md); null takes the one that the
    environment variable STILLHOUSE_TERMS names. What it says stands in the results."""

    @property
    def guide(self) -> GuideName:
        """Who says what the student should predict."""
        if OBJECTIVES[self.objective].guides == ("text",):
            return "text"
        return "signal" if self.live is None else "live"

    @property
    def is_cross(self) -> bool:
        """Whether the signal is aligned with the student's tokens by the bytes of the text."""
        return self.objective == "alm" or self.cross.teacher is not None

    @model_validator(mode="after")
    def _check_cross(self) -> Self:
        if self.cross.teacher is not None and self.guide != "signal":
            raise ValueError(
                f"cross.teacher names the tokenizer of a captured signal, but the guide is "
                f"{self.guide}; leave it out, or use alm or a divergence with a signal"
            )
        return self

    @model_validator(mode="after")
    def _check_match(self) -> Self:
        if self.match is not None and (self.guide != "live" or self.objective == "uld"):
            raise ValueError(
                f"match compares hidden states with those of a live teacher, and objective "
                f"{self.objective} asks none here; set live.teachers, or leave match out"
            )
        return self

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        check_method(self.objective, self.source, self.guide)
        check_rollouts(self.objective, self.rollout)
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
