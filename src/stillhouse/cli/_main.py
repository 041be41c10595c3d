"""Run one command; the one place where exceptions become messages and exit codes.

0    done
1    our bug
2    the user can fix it: a setting, a file, a teacher, the machine
3    more items failed than allowed
130  interrupted (Ctrl-C); 143 terminated (SIGTERM); 141 whoever read the output closed it
"""

import errno
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn, TextIO

import typer

from stillhouse.cli._app import RESUMABLE, build_app
from stillhouse.errors import StillhouseError

DONE, BUG, FIXABLE, INTERRUPTED, OUTPUT_CLOSED, TERMINATED = 0, 1, 2, 130, 141, 143

_DEBUG_FLAG, _DEBUG_VARIABLE = "--debug", "STILLHOUSE_DEBUG"
# The machine's fault or the user's, with a plain reason: no bug of ours.
_FIXABLE_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EMFILE,
    errno.ENAMETOOLONG,
}


class Terminated(KeyboardInterrupt):
    """SIGTERM: stages stop as cleanly as for Ctrl-C."""


def main() -> NoReturn:
    """The entry point of `stillhouse`."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe in a small encoding must not turn a name into a crash.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = run_command(sys.argv[1:])
    sys.exit(code)


def run_command(arguments: Sequence[str], *, command: Any = None) -> int:
    """Run the command that `arguments` give and return its exit code.

    Args:
        arguments: What follows `stillhouse`.
        command: The command group; all of ours when None.
    """
    command = command or build_app()
    try:
        with command.make_context("stillhouse", list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as stop:
        return stop.exit_code
    except Terminated:
        return _interrupted(arguments, TERMINATED)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(arguments, INTERRUPTED)
    except BrokenPipeError as err:
        if _is_output_closed():
            return OUTPUT_CLOSED
        return _report(err, arguments)
    except Exception as err:
        return _report(err, arguments)
    return DONE


def _report(err: Exception, arguments: Sequence[str]) -> int:
    """Say what went wrong, in the form that the command line asked for, and give the code."""
    code, message = _verdict(err)
    if _DEBUG_FLAG in arguments or os.environ.get(_DEBUG_VARIABLE):
        traceback.print_exception(err)
    if "--json" in arguments:
        # Not in the parsed options: they may be what is wrong.
        document = {"error": {"type": type(err).__name__, "message": message}}
        print(json.dumps(document), file=sys.stderr)
    elif isinstance(err, typer.TyperException) and hasattr(err, "show"):
        err.show()
    else:
        print(f"error: {message}", file=sys.stderr)
    return code


def _verdict(err: Exception) -> tuple[int, str]:
    if isinstance(err, StillhouseError):
        return err.exit_code, str(err)
    if isinstance(err, typer.TyperException):
        return FIXABLE, " ".join(err.format_message().split())
    if isinstance(err, OSError) and err.errno in _FIXABLE_ERRNOS:
        where = f"{err.filename}: " if err.filename else ""
        return FIXABLE, f"{where}{err.strerror}. Correct that, then run the same command again."
    if isinstance(err, ModuleNotFoundError) and (extra := _extra_of(err)):
        return FIXABLE, f"{err.name} is not installed. Run: pip install 'stillhouse[{extra}]'"
    if isinstance(err, MemoryError):
        return FIXABLE, "Out of memory. Close other programs, or lower batch_size."
    what = " ".join(f"{type(err).__name__}: {err}".split())
    return BUG, (
        f"{what}. This is a bug in stillhouse; please report it with the traceback that "
        f"{_DEBUG_VARIABLE}=1 shows."
    )


def _extra_of(err: ModuleNotFoundError) -> str | None:
    """The extra that brings a missing package; None for what no extra brings."""
    from stillhouse.pipeline import EXTRAS

    package = (err.name or "").split(".")[0]
    return next((extra for extra, names in EXTRAS.items() if package in names), None)


def _interrupted(arguments: Sequence[str], code: int) -> int:
    names = [argument for argument in arguments if not argument.startswith("-")]
    is_resumable = bool(names) and names[0] in RESUMABLE
    print("stopped; run the same command to resume" if is_resumable else "stopped", file=sys.stderr)
    return code


def _is_output_closed() -> bool:
    """Whether it is our own output that broke, and not a pipe or socket inside a stage."""
    closed = [stream for stream in (sys.stdout, sys.stderr) if _is_closed_by_reader(stream)]
    for stream in closed:
        # Python flushes once more when it exits, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(closed)


def _is_closed_by_reader(stream: TextIO) -> bool:
    if not hasattr(select, "poll"):  # Windows reports a closed pipe in another way
        return False
    try:
        descriptor = stream.fileno()
    except OSError:  # a stand-in that a caller put there: nobody reads it through a pipe
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
