"""Low-rank adapters (LoRA, Hu et al. 2021, 2106.09685) through peft."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillhouse.errors import ConfigError, MissingDependencyError

_MAX_NAMES = 10
_NAME = "default"


class Adapter:
    """Two thin matrices beside each chosen linear layer of a network: all that is trained.

    The network given is changed in place and stays a plain `transformers` model to its callers.

    Args:
        network: Its own weights are frozen.
        rank: Of the update.
        alpha: The update counts alpha / rank.
        targets: Names of linear layers, such as `q_proj`; None for all but the head.
        seed: Of the matrices that do not begin at zero.

    Raises:
        ConfigError: a target is no linear layer of the network's blocks.
        MissingDependencyError: peft is not installed.
    """

    def __init__(
        self, network: Any, *, rank: int, alpha: int, targets: Sequence[str] | None, seed: int
    ) -> None:
        import torch

        try:
            import peft
        except ImportError as err:
            raise MissingDependencyError(
                f"LoRA needs peft ({err}). Run: pip install 'stillhouse[train]'"
            ) from err
        names = sorted(_linear_names(network))
        chosen = names if targets is None else sorted(set(targets))
        if unknown := sorted(set(chosen) - set(names)):
            raise ConfigError(
                f"lora.targets names {unknown[:_MAX_NAMES]}, but the linear layers of this "
                f"model's blocks are {names[:_MAX_NAMES]}. Choose among them."
            )
        config = peft.LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=chosen,
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Not `get_peft_model`: its wrapper adds nothing here but warnings about transformers.
            self._wrapped = peft.LoraModel(network, config, _NAME)
        self._config = config
        network.eval()

    def save(self, folder: Path) -> list[str]:
        """Write the adapter alone, as `peft.PeftModel.from_pretrained` opens it, before `merge`.

        Returns:
            The names of the files in `folder`.
        """
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        weights = get_peft_model_state_dict(self._wrapped, adapter_name=_NAME)
        save_file(
            {f"base_model.{name}": weight.contiguous() for name, weight in weights.items()},
            folder / "adapter_model.safetensors",
        )
        self._config.save_pretrained(str(folder))
        return sorted(entry.name for entry in folder.iterdir())

    def merge(self) -> None:
        """Add the update to the network's own weights, which leaves it without an adapter."""
        network = self._wrapped.merge_and_unload()
        for parameter in network.parameters():
            parameter.requires_grad_(True)


def _linear_names(network: Any) -> set[str]:
    """Last parts of the names of linear layers inside the decoder's blocks.

    The head is not among them: the loss reads its weight past the module, so that an adapter on
    it would silently not count.
    """
    from torch import nn

    return {
        name.rsplit(".", 1)[-1]
        for name, module in network.get_decoder().layers.named_modules()
        if isinstance(module, nn.Linear)
    }
