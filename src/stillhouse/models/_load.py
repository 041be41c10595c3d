"""Open a causal language model with its tokenizer, from wherever it is."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stillhouse.artifacts import file_sha256, weights_revision
from stillhouse.chat import ChatTokenizer
from stillhouse.errors import (
    ConfigError,
    IntegrityError,
    MissingDependencyError,
    StillhouseError,
)
from stillhouse.models._gguf import converted_folder, embedded_gguf
from stillhouse.models._weights import blank_network, read_network

_QUANTISATION = re.compile(r"[.-]((I?Q|TQ)\d\w*|B?F(16|32))$", re.IGNORECASE)
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelFolder:
    """Where a model's files are.

    Attributes:
        path: A `transformers` folder, or a hub name when `is_local` is false.
        name: What users call the model.
        is_local: Whether `path` is a folder on this machine.
    """

    path: str
    name: str
    is_local: bool

    @cached_property
    def revision(self) -> str | None:
        """Fingerprint of the weights; None for a hub model, whose files are not ours to read."""
        return weights_revision(Path(self.path)) if self.is_local else None

    @cached_property
    def shape_revision(self) -> str | None:
        """SHA-256 of `config.json`, for a student that takes nothing but the shape from here."""
        if not self.is_local:
            return None
        return file_sha256(Path(self.path) / "config.json")


@dataclass
class LanguageModel:
    """A model in memory, ready to generate and to be trained.

    Attributes:
        network: The `transformers` causal language model, float32 on the CPU.
        chat: Its tokenizer and template.
        name: What users call it.
        revision: Fingerprint of the weights it was loaded with, where known.
    """

    network: Any
    chat: ChatTokenizer
    name: str
    revision: str | None = None

    @property
    def num_parameters(self) -> int:
        """Weights, a tied head counted once."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def num_embedding_parameters(self) -> int:
        """Weights of the input embedding."""
        return int(self.network.get_input_embeddings().weight.numel())

    @property
    def num_layers(self) -> int:
        """Decoder layers."""
        return int(self.network.config.get_text_config().num_hidden_layers)

    @property
    def context_tokens(self) -> int:
        """The longest prompt and completion together."""
        return int(self.network.config.get_text_config().max_position_embeddings)


def locate_model(source: str | Path) -> ModelFolder:
    """Find a model's files, converting a GGUF file on first use.

    Args:
        source: `""` for the embedded SmolLM2-135M-Instruct, a `.gguf` file (converted once into
            the cache), a `transformers` folder such as a student artefact, or a hub name
            `organisation/model`.

    Raises:
        ConfigError: nothing is there.
        IntegrityError: a GGUF file is damaged, or holds a model that cannot be converted.
        MissingDependencyError: transformers or the embedded teacher is not installed.
    """
    path = embedded_gguf() if source == "" else Path(source)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ConfigError(f"{path} does not exist. Give a GGUF file or a model folder.")
        _import_transformers()
        with quiet_transformers():
            folder = converted_folder(path)
        return ModelFolder(str(folder), _QUANTISATION.sub("", path.stem), True)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(
                f"{path} is not a model folder: it has no config.json. "
                "Give a folder that transformers can open, or a finished student."
            )
        return ModelFolder(str(path), path.resolve().name, True)
    if _HUB_NAME.fullmatch(str(source)) and not path.parent.is_dir():
        return ModelFolder(str(source), str(source).split("/")[1], False)
    raise ConfigError(
        f"No model at {source}. Give a folder, a .gguf file or a hub name (organisation/model)."
    )


def load_chat(folder: ModelFolder) -> ChatTokenizer:
    """The tokenizer and template of a model, without its weights.

    Raises:
        ConfigError: it has no chat template or no end-of-turn token.
        IntegrityError: the files are damaged.
        MissingDependencyError: transformers is not installed.
    """
    transformers = _import_transformers()
    with quiet_transformers(), _damage_as_integrity_error(folder):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder.path, local_files_only=folder.is_local
        )
        generation_ids = _generation_eos(transformers, folder)
    ids = [*_as_ids(generation_ids), *_as_ids(tokenizer.eos_token_id)]
    return ChatTokenizer(tokenizer, end_of_turn_ids=ids, name=folder.name)


def load_model(source: str | Path, *, is_blank: bool = False) -> LanguageModel:
    """Load a model for the CPU in float32; see `locate_model` for what `source` may be.

    Args:
        source: Where it is.
        is_blank: Take its shape and tokenizer only; the weights are random, and its folder need
            not have any.

    Raises:
        ConfigError: nothing is there, or it has no chat template.
        IntegrityError: the files are damaged.
        MissingDependencyError: torch, transformers or the embedded teacher is not installed.
    """
    folder = locate_model(source)
    chat = load_chat(folder)
    with quiet_transformers(), _damage_as_integrity_error(folder):
        if is_blank:
            network = blank_network(folder.path, is_local=folder.is_local)
        else:
            network = read_network(folder.path, local_files_only=folder.is_local)
    network.eval()
    revision = None if is_blank else folder.revision
    return LanguageModel(network=network, chat=chat, name=folder.name, revision=revision)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal, and put its setting back."""
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _damage_as_integrity_error(folder: ModelFolder) -> Iterator[None]:
    try:
        yield
    except StillhouseError:
        raise
    except Exception as err:  # safetensors, json and hub errors share no base class
        reason = str(err).strip().split("\n")[0]
        if not folder.is_local:
            raise ConfigError(
                f"There is no folder {folder.path} here, and the model of that name on the hub "
                f"cannot be loaded ({type(err).__name__}: {reason}). Give a folder that exists, or "
                "the name of a model on the hub."
            ) from err
        raise IntegrityError(
            f"The model in {folder.path} cannot be loaded ({type(err).__name__}: {reason}). "
            "Check the files or fetch them again."
        ) from err


def _generation_eos(transformers: Any, folder: ModelFolder) -> int | list[int] | None:
    try:
        config = transformers.GenerationConfig.from_pretrained(
            folder.path, local_files_only=folder.is_local
        )
    except OSError:  # the file is optional; config.json then says how a turn ends
        config = transformers.AutoConfig.from_pretrained(
            folder.path, local_files_only=folder.is_local
        ).get_text_config()
    ids: int | list[int] | None = getattr(config, "eos_token_id", None)
    return ids


def _as_ids(given: int | list[int] | None) -> list[int]:
    if given is None:
        return []
    return [given] if isinstance(given, int) else list(given)


def _import_transformers() -> Any:
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as err:
        raise MissingDependencyError(
            f"Local models need transformers ({err}). Run: pip install 'stillhouse[train]'"
        ) from err
    return transformers
