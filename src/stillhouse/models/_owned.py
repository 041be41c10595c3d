"""Weights that no file can change."""

import torch

from stillhouse.models._load import LanguageModel


@torch.no_grad()
def own_weights(model: LanguageModel) -> None:
    """Copy weights into memory of this process; tied ones stay tied.

    Loaded ones are pages of their file: whoever writes into it changes the model, and whoever cuts
    it ends the process.
    """
    for parameter in model.network.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()
