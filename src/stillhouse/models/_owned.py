"""Models for a server: their weights are in its memory, and its own thread computes with them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from stillhouse.models._load import LanguageModel, load_model


def load_owned_model(source: str | Path) -> LanguageModel:
    """`load_model`, with weights that no file can change.

    Loaded ones are pages of their file: whoever writes into it changes the model, and whoever cuts
    it ends the process.

    It loads in a thread that ends. torch keeps a pool of threads for each one that has ever
    computed, and where all of them are more than the cores they sleep between products: with the
    pool of the main thread still there, the thread that generates had 100 tokens/s instead of 127.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        return thread.submit(_load, source).result()


@torch.no_grad()
def _load(source: str | Path) -> LanguageModel:
    model = load_model(source)
    for parameter in model.network.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()  # tied ones stay tied
    return model
