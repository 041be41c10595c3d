"""Students that answer with labels as wheels that need nothing of stillhouse."""

from stillhouse.export._wheel._export import export_wheel, requirements

__all__ = ["export_wheel", "requirements"]
