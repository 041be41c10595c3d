"""Run one command in this process, whether or not the app lists it."""

from collections.abc import Callable
from typing import Any

import pytest
import typer
from cli_process import Ran
from typer.main import get_command

from stillhouse.cli._main import run_command


def run_alone(
    capsys: pytest.CaptureFixture[str], command: Callable[..., Any], *arguments: object
) -> Ran:
    """Run `command` under its own name with `arguments`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(lambda: None)  # a group also where there is one command
    name = command.__name__.rstrip("_").replace("_", "-")
    app.command(name)(command)
    capsys.readouterr()
    code = run_command([name, *map(str, arguments)], command=get_command(app))
    out, err = capsys.readouterr()
    return Ran(code, out, err)
