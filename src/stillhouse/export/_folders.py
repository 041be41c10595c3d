"""Folders that transformers and peft open: merged weights, or an adapter alone."""

import shutil
import warnings
from pathlib import Path
from typing import Any

from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.export._config import FormatName
from stillhouse.export._language import (
    distance_figures,
    network_distance,
    text_metric,
    token_identity,
)
from stillhouse.export._plain import plain_message, plain_tool
from stillhouse.export._report import FormatReport
from stillhouse.export._source import Conversation, LanguageSource
from stillhouse.models import (
    LanguageModel,
    StudentStart,
    load_model,
    locate_model,
    quiet_transformers,
    save_model,
)

ADAPTER = "adapter"


def export_safetensors(source: LanguageSource, folder: Path, name: FormatName) -> FormatReport:
    """The student's weights, an adapter merged in, as a `transformers` folder, read back by it.

    Raises:
        ExportRefusedError: its tokens are not those of training.
    """
    import torch
    import transformers

    save_model(source.model, folder)
    with quiet_transformers():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        network = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
    identity = token_identity(source, lambda asked: _plain_ids(tokenizer, asked))
    distance = network_distance(source, network.eval())
    return FormatReport(
        format=name,
        figures=(identity, *distance_figures(distance, source.config.f16)),
        metric=text_metric(source, distance),
    )


def export_adapter(source: LanguageSource, folder: Path, name: FormatName) -> FormatReport:
    """The adapter that training kept by itself, put on its base by peft.

    Raises:
        ConfigError: the student has no adapter, is cut from its base, or the base is gone.
        IntegrityError: the base is not the one that the student was trained from.
    """
    from peft import PeftModel

    kept = source.weights_dir / ADAPTER
    if not (kept / "adapter_config.json").is_file():
        raise ConfigError(
            f"{source.weights_dir} has no adapter of its own. Train with lora.save_adapter, or "
            "export safetensors, in which it is merged."
        )
    base = _base(source)
    for path in sorted(kept.iterdir()):
        shutil.copyfile(path, folder / path.name)
    with warnings.catch_warnings():
        # peft asks transformers for what that renames; nothing is wrong with the files.
        warnings.simplefilter("ignore", FutureWarning)
        network = PeftModel.from_pretrained(base.network, folder)
    identity = token_identity(source, lambda asked: _plain_ids(base.chat.tokenizer, asked))
    distance = network_distance(source, network.eval())
    return FormatReport(
        format=name,
        figures=(identity, *distance_figures(distance, source.config.f16)),
        metric=text_metric(source, distance),
        notes=(f"It goes with {base.name}, revision {base.revision}.",),
    )


def _base(source: LanguageSource) -> LanguageModel:
    manifest = source.artifact.manifest
    folder = locate_model(str(manifest.config.get("base", "")).removeprefix("local:"))
    if manifest.student is None or folder.revision != manifest.student.revision:
        raise IntegrityError(
            f"{folder.path} is not the base that {source.model.name} was trained from: its weights "
            "are others. Put the base back, or export safetensors."
        )
    base = load_model(folder.path)
    start = StudentStart.read(source.weights_dir)
    is_whole = start.layers in (None, tuple(range(base.num_layers)))
    if start.is_narrower or start.random_seed is not None or not is_whole:
        raise ConfigError(
            f"{source.model.name} is not all of its base, so that its adapter goes with nothing "
            "that others have. Export safetensors."
        )
    return base


def _plain_ids(tokenizer: Any, conversation: Conversation) -> list[int]:
    """What a `transformers` tokenizer makes of a conversation by itself."""
    text = tokenizer.apply_chat_template(
        [plain_message(message, parsed=True) for message in conversation.messages],
        tools=[plain_tool(tool) for tool in conversation.tools] or None,
        tokenize=False,
        add_generation_prompt=True,
    )
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found
