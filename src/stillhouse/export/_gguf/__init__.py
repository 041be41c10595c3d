"""Language models as GGUF files: written here, verified in llama.cpp."""

from stillhouse.export._gguf._export import export_gguf
from stillhouse.export._gguf._write import RowOrder, pairs_first

__all__ = ["export_gguf", "RowOrder", "pairs_first"]
