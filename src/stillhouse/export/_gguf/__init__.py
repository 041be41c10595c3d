"""Language models as GGUF files: written here, verified in llama.cpp."""

from stillhouse.export._gguf._engine import LlamaClient
from stillhouse.export._gguf._export import engine_distance, export_gguf
from stillhouse.export._gguf._write import RowOrder, pairs_first, write_gguf

__all__ = [
    "export_gguf",
    "write_gguf",
    "RowOrder",
    "pairs_first",
    "LlamaClient",
    "engine_distance",
]
