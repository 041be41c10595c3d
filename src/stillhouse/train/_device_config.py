"""Where a student is trained: settings that load without torch."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class DeviceConfig(Record):
    """Where the training runs. How many processes share it is for `torchrun` or Ray to say."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products inside the layers; weights, optimiser, head and loss are float32 in any
    case. `auto` is bfloat16 on a GPU and float32 elsewhere."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the layers with `torch.compile`; `auto` does on a GPU."""
    recompute: bool = False
    """Keep what a layer is given, and compute its inside once more for the gradient: less memory,
    about a third more time."""


class RayConfig(Record):
    """How a training is spread over a Ray cluster, with the engine `ray`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    address: str | None = None
    """Of the cluster: `auto` takes the one of this machine, `local` starts one; null takes one that
    runs, else starts one."""
    workers: int = Field(default=2, ge=1)
    """Processes that share each batch. All must see the same folders."""
    cpus_per_worker: float = Field(default=1.0, ge=0.0)
    """Set aside for each worker, beside a GPU where `device.kind` is `cuda`."""
