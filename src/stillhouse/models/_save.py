"""Write a model folder that transformers opens."""

from pathlib import Path

from stillhouse.models._load import LanguageModel, quiet_transformers


def save_model(model: LanguageModel, folder: Path) -> list[str]:
    """Save weights (safetensors, one file), configuration, tokenizer and template.

    Args:
        model: What to save.
        folder: An empty folder, or one that an earlier call was stopped in.

    Returns:
        The names of the files in it.
    """
    with quiet_transformers():
        model.network.save_pretrained(folder, max_shard_size="100GB")
        model.chat.tokenizer.save_pretrained(folder)
    return sorted(entry.name for entry in folder.iterdir())
