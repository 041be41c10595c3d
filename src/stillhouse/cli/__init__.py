"""The command line. Only this room draws, prints and decides exit codes."""

from stillhouse.cli._main import main

__all__ = ["main"]
