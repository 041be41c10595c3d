"""Every command, in the order in which a newcomer needs them.

Building the app imports typer and the commands' signatures only; what a command needs to work
is imported inside it, so that `--help` takes a tenth of a second.
"""

from typing import Annotated, Any

import typer
from typer.main import get_command

from stillhouse import __version__
from stillhouse.cli._arena import arena
from stillhouse.cli._attribute import attribute
from stillhouse.cli._audit_pack import audit_pack
from stillhouse.cli._bakeoff import bakeoff
from stillhouse.cli._benchmarks import benchmarks
from stillhouse.cli._certify import certify
from stillhouse.cli._chat import chat
from stillhouse.cli._clear_account import clear_account
from stillhouse.cli._documents import documents
from stillhouse.cli._economics import economics
from stillhouse.cli._estimate import estimate
from stillhouse.cli._export import export
from stillhouse.cli._fit import fit
from stillhouse.cli._forget import forget
from stillhouse.cli._import import import_
from stillhouse.cli._lineage import lineage
from stillhouse.cli._preflight import preflight
from stillhouse.cli._prove import prove
from stillhouse.cli._proxy import proxy
from stillhouse.cli._radioactivity import radioactivity
from stillhouse.cli._range import range_
from stillhouse.cli._release import release
from stillhouse.cli._runs import demo, run
from stillhouse.cli._scan import scan
from stillhouse.cli._serve import serve
from stillhouse.cli._served import served
from stillhouse.cli._setup import doctor, init
from stillhouse.cli._sign import sign
from stillhouse.cli._signing_keys import keys
from stillhouse.cli._stages import capture, collect, curate, evaluate, train
from stillhouse.cli._terms import terms
from stillhouse.cli._verify import verify
from stillhouse.cli._watch import watch
from stillhouse.cli._watermark import watermark
from stillhouse.cli._yield import yield_

_COMMANDS = (
    demo,
    init,
    doctor,
    run,
    scan,
    bakeoff,
    estimate,
    collect,
    proxy,
    import_,
    curate,
    capture,
    preflight,
    train,
    fit,
    evaluate,
    certify,
    export,
    yield_,
    arena,
    benchmarks,
    chat,
    serve,
    served,
    release,
    terms,
    watermark,
    keys,
    sign,
    verify,
    lineage,
    prove,
    forget,
    documents,
    economics,
    audit_pack,
    watch,
    clear_account,
    radioactivity,
    attribute,
    range_,
)
RESUMABLE = {"demo", "run", "collect", "curate", "capture", "train", "evaluate"}
RESUMABLE |= {"fit", "bakeoff", "yield", "arena", "benchmarks", "range"}
"""Commands that go on where they stopped."""


def build_app() -> Any:
    """The command line as one command group."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Plain help: fast, the same in every terminal, and the same in docs/cli.md.
        rich_markup_mode=None,
    )
    app.callback()(_stillhouse)
    for command in _COMMANDS:
        app.command(command.__name__.rstrip("_").replace("_", "-"))(command)
    return get_command(app)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"stillhouse {__version__}")
        raise typer.Exit


def _stillhouse(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log what happens, and show tracebacks of errors.")
    ] = False,
) -> None:
    """Distil large language models into small ones that you own.

    Start with `stillhouse demo`: it distils a real model on this machine, with no key and no
    account. Exit codes: 0 done, 1 our bug, 2 something you can fix, 3 too many items failed, 130
    interrupted.
    """
    if debug:
        import logging

        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
