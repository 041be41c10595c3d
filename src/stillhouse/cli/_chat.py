"""`stillhouse chat`: talk to a student, beside its teacher if wanted."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption
from stillhouse.errors import ConfigError, TeacherError

if TYPE_CHECKING:
    from stillhouse.cli._conversation import Conversation, Reply

_HELP = "/reset forgets the conversation, /quit or Ctrl-D ends"
_MIN_COLUMNS_SIDE_BY_SIDE = 100


def chat(
    student: Annotated[
        str, typer.Argument(metavar="STUDENT", help="Folder that train wrote, or a teacher's SPEC.")
    ],
    beside: Annotated[
        str | None,
        typer.Option("--beside", metavar="TEACHER", help="Answer beside it: a folder or a SPEC."),
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System message.")] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Ask this one thing and stop.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Of one answer.")] = 256,
    json: JsonOption = False,
) -> None:
    """Talk to a student, beside its teacher if wanted."""
    from stillhouse.cli._conversation import Conversation, chat_sampling
    from stillhouse.teachers import open_teacher

    if json and prompt is None:
        raise ConfigError("--json needs --prompt TEXT: one question gives one document.")
    sampling = chat_sampling(temperature=temperature, max_tokens=max_tokens)
    specs = {"student": student} if beside is None else {"student": student, "teacher": beside}
    with ExitStack() as stack:
        conversations = {
            name: Conversation(
                stack.enter_context(open_teacher(_as_spec(given))),
                system=system,
                sampling=sampling,
            )
            for name, given in specs.items()
        }
        _load(conversations)
        if prompt is not None:
            _answer_once(conversations, prompt, is_json=json)
        else:
            _talk(conversations)


def _as_spec(given: str) -> str:
    """A folder is a local model; anything else must be a spec."""
    if Path(given).is_dir():
        return f"local:{given}"
    if ":" not in given:
        raise ConfigError(
            f"There is no folder {given}. Give a student's folder, or a spec such as local:."
        )
    return given


def _load(conversations: "dict[str, Conversation]") -> None:
    from rich.console import Console

    for name, conversation in conversations.items():
        with Console(stderr=True).status(f"loading the {name}"):
            conversation.load()


def _answer_once(conversations: "dict[str, Conversation]", prompt: str, *, is_json: bool) -> None:
    answers = _ask(conversations, prompt)
    for name, answer in answers.items():
        if answer.error is not None:
            raise TeacherError(f"The {name} did not answer: {answer.error}")
    if is_json:
        import json

        print(json.dumps({name: answer.document() for name, answer in answers.items()}, indent=2))
    else:
        print(_shown(answers))


def _talk(conversations: "dict[str, Conversation]") -> None:
    for line in _lines():
        if line == "/quit":
            return
        if line == "/reset":
            for conversation in conversations.values():
                conversation.reset()
            print("forgotten", file=sys.stderr)
        elif line.startswith("/"):
            print(f"{line.split()[0]} is no command; {_HELP}", file=sys.stderr)
        else:
            print(_shown(_ask(conversations, line)), flush=True)


def _ask(conversations: "dict[str, Conversation]", text: str) -> "dict[str, Reply]":
    from rich.console import Console

    answers = {}
    for name, conversation in conversations.items():
        # Where stderr is a terminal: an answer may take seconds, and nothing else would show.
        with Console(stderr=True).status(f"waiting for the {name}"):
            answers[name] = conversation.ask(text)
    return answers


def _lines() -> Iterator[str]:
    """What the user types, until the end of input."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        import contextlib

        with contextlib.suppress(ImportError):  # only line editing is lost, on Windows
            import readline  # noqa: F401
        print(_HELP, file=sys.stderr)
    while True:
        try:
            line = input("> " if is_terminal else "")
        except EOFError:
            return
        if line.strip():
            yield line.strip()


def _shown(answers: "dict[str, Reply]") -> str:
    """The answers for people: one plain, two in columns or one under the other."""
    if len(answers) == 1:
        (answer,) = answers.values()
        return f"{_body(answer)}\n[{answer.figures()}]"
    import shutil

    width = shutil.get_terminal_size().columns
    if sys.stdout.isatty() and width >= _MIN_COLUMNS_SIDE_BY_SIDE:
        return _side_by_side(answers, width)
    parts = [f"{name} [{answer.figures()}]\n{_body(answer)}" for name, answer in answers.items()]
    return "\n\n".join(parts)


def _side_by_side(answers: "dict[str, Reply]", width: int) -> str:
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), expand=True)
    for name, answer in answers.items():
        table.add_column(f"{name} [dim]{answer.figures()}[/dim]", ratio=1)
    table.add_row(*(Text(_body(answer)) for answer in answers.values()))
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def _body(answer: "Reply") -> Any:
    return f"(no answer: {answer.error})" if answer.error is not None else answer.text
