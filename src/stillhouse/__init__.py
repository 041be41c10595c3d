"""stillhouse distils large language models into smaller ones that their owner can run and check."""

__version__ = "0.1.0"

__all__ = ["__version__"]
