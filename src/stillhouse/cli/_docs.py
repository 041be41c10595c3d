"""docs/cli.md and docs/config.md, made from the code: `python -m stillhouse.cli._docs --write`."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stillhouse.cli._app import build_app
from stillhouse.cli._config_page import config_text
from stillhouse.terms import load_registry, with_registry

_WIDTH = 100
_CLI_HEAD = """# Commands

Made from `--help` by `python -m stillhouse.cli._docs --write`; a test compares the two.

Exit codes: 0 done; 1 a bug of ours; 2 something that you can fix; 3 more items failed than
allowed; 130 interrupted (143 on SIGTERM, 141 when the reader of stdout went away). With `--json`
stdout carries exactly one JSON document, and an error is `{"error": {"type", "message"}}` on
stderr. Progress and messages always go to stderr.
"""


def cli_text() -> str:
    """The text of docs/cli.md."""
    app = build_app()
    parts = [_CLI_HEAD, _help_block("stillhouse", app, [])]
    for name, command in app.commands.items():
        parts.append(f"\n## stillhouse {name}\n")
        parts.append(_help_block(f"stillhouse {name}", command, [name]))
    return "\n".join(parts)


def options_text() -> str:
    """Every command with its arguments and options, one a line: what must not change unseen."""
    app = build_app()
    lines = [f"stillhouse {option}" for option in _parameters(app)]
    for name, command in app.commands.items():
        lines += [f"stillhouse {name} {parameter}" for parameter in _parameters(command)]
    return "\n".join(lines) + "\n"


def terms_text(page: str) -> str:
    """docs/terms.md with the registry as it is."""
    return with_registry(page, load_registry(today=datetime.now(UTC).date()))


def _help_block(prog: str, command: Any, path: list[str]) -> str:
    context = command.context_class(
        command, info_name=prog, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    return f"```\n{command.get_help(context)}\n```"


def _parameters(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield parameter.metavar or parameter.name
        else:
            yield "/".join([*parameter.opts, *parameter.secondary_opts])


def _write(folder: Path) -> None:
    (folder / "docs" / "cli.md").write_text(cli_text(), encoding="utf-8")
    (folder / "docs" / "config.md").write_text(config_text(), encoding="utf-8")
    terms_page = folder / "docs" / "terms.md"
    terms_page.write_text(terms_text(terms_page.read_text(encoding="utf-8")), encoding="utf-8")
    golden = folder / "tests" / "golden" / "cli_options.txt"
    golden.parent.mkdir(parents=True, exist_ok=True)
    golden.write_text(options_text(), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("Run in the repository: python -m stillhouse.cli._docs --write")
    _write(Path.cwd())
