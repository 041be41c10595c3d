"""Read a network whose weights are all there."""

from pathlib import Path
from typing import Any

from stillhouse.errors import IntegrityError


def read_network(folder: str | Path, **source: Any) -> Any:
    """A `transformers` causal language model on the CPU in float32.

    Args:
        folder: What `from_pretrained` takes.
        source: Its further arguments.

    Raises:
        IntegrityError: weights are missing. transformers would warn and go on with random ones.
    """
    import torch
    import transformers

    network, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, **source
    )
    if missing := sorted(info["missing_keys"]):
        raise IntegrityError(
            f"The model in {source.get('gguf_file', folder)} lacks {len(missing)} of the weights "
            f"that its configuration asks for ({missing[0]}, ...). Fetch it again."
        )
    return network


def blank_network(folder: str | Path, *, is_local: bool) -> Any:
    """A network of the shape that a folder's `config.json` gives, float32; its weights are random.

    No weights are read, and there need be none.
    """
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=is_local)
    with torch.random.fork_rng(devices=[]):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
