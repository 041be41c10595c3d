"""What is exported, and how close it has to be."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record

FormatName = Literal[
    "gguf-f16",
    "gguf-q8_0",
    "gguf-q4_k",
    "safetensors",
    "adapter",
    "wheel",
    "onnx",
    "openvino",
    "container",
]


class Limits(Record):
    """How far an exported language model may be from its student."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    max_mean_kl: float = Field(gt=0.0)
    """Mean KL(student || export), in nats per token."""
    min_top1: float = Field(ge=0.0, le=1.0)
    """Fraction of positions with the same most likely token; one that the student gives within
    0.01 nats of its best counts as the same."""


class ExportConfig(Record):
    """The formats, the limits, and what they are measured on."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    formats: tuple[FormatName, ...] = Field(min_length=1)
    """What is made, each in a folder of its name."""
    positions: int = Field(default=384, ge=32)
    """Tokens at which the distributions of language models are compared."""
    f16: Limits = Limits(max_mean_kl=0.005, min_top1=0.995)
    """Of `gguf-f16`, `safetensors` and `adapter`."""
    q8_0: Limits = Limits(max_mean_kl=0.01, min_top1=0.9)
    """Of `gguf-q8_0`, and of `container`."""
    q4_k: Limits = Limits(max_mean_kl=0.1, min_top1=0.75)
    """Of `gguf-q4_k`."""
    max_probability_gap: float = Field(default=1e-4, gt=0.0, lt=1.0)
    """Largest difference of any probability of a student that answers with labels."""
    metric_margin: float = Field(default=0.01, gt=0.0)
    """Tolerated loss on `--data`: nats per token, or a fraction of right answers."""
    name: str = Field(default="student", pattern=r"^[a-z][a-z0-9_]*$")
    """What the exported model is called: the file of a GGUF, the package in a wheel."""
    version: str = Field(default="1.0.0", pattern=r"^\d+(\.\d+){0,3}$")
    """Of the wheel."""
