"""The `terms` command: what owners allow, what you declare, and the verdict over both."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption, TermsOption
from stillhouse.cli._output import Output, path_text, table_text
from stillhouse.cli._signing_keys import KeyFolderOption, signing_key
from stillhouse.errors import ConfigError

if TYPE_CHECKING:
    from stillhouse.provenance import LineageTerms
    from stillhouse.terms import Registry, Source, Terms, TermsRecord

_FILE = Path("terms.yaml")


class Action(StrEnum):
    """What is done about terms."""

    list = "list"
    show = "show"
    check = "check"
    init = "init"
    waive = "waive"


def terms(
    action: Annotated[Action, typer.Argument(help="What to do.", show_default=False)],
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[WHAT]",
            help="Of show and waive: a source. Of check: an artefact's folder, a config, or a "
            "teacher's spec. Of init: the file to write.  [default: terms.yaml]",
        ),
    ] = None,
    terms: TermsOption = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Of waive: the owner's key, of the key folder or a file (as sign takes it).",
        ),
    ] = None,
    key_folder: KeyFolderOption = None,
    clause: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Of waive: a clause that does not bind; may be repeated."),
    ] = None,
    grantee: Annotated[str | None, typer.Option(help="Of waive: who is permitted.")] = None,
    scope: Annotated[str | None, typer.Option(help="Of waive: what for.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Of waive: which teachers, such as openai:gpt-5*."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="Of waive: its last day, YYYY-MM-DD.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Of waive: the file to write.")
    ] = Path("waiver.json"),
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """See what owners allow of their models' answers, and what follows for a student.

    list names the sources of the registry, show one of them with its clauses. check gives the
    verdict over an artefact with all that it was made from, over a config, or over a teacher; where
    that does not allow, the exit code is 2. init writes a commented terms.yaml. waive is for
    owners: it signs a permission. All of it is a record, not legal advice.
    """
    output = Output(is_json=json, is_quiet=quiet)
    if action in (Action.show, Action.check, Action.waive) and what is None:
        wanted = {Action.check: "an artefact's folder, a config or a teacher's spec"}
        raise ConfigError(f"terms {action.value} takes {wanted.get(action, 'a source')}. Give it.")
    if action is Action.init:
        _init(Path(what) if what else _FILE, output)
        return
    if action is Action.list and what is not None:
        raise ConfigError(f"terms list takes nothing. Leave {what!r} out, or use: terms show")
    from stillhouse.provenance import terms_given

    given = terms_given(terms)
    if action is Action.list:
        output.result(_list_document(given.registry), _list_text(given.registry))
    elif action is Action.show:
        source = given.registry.source(what or "", where="terms show")
        output.result(source.model_dump(mode="json"), _source_text(source))
    elif action is Action.check:
        _check(what or "", given, output)
    else:
        options = {
            "--key": key,
            "--clause": clause,
            "--grantee": grantee,
            "--scope": scope,
            "--teacher": teacher,
            "--until": until,
        }
        _waive(what or "", options, key_folder, out, given, output)


def _init(path: Path, output: Output) -> None:
    from stillhouse.terms import SCHEMA_FILE, declaration_text, schema_text

    if not path.parent.is_dir():
        raise ConfigError(f"The folder {path.parent} does not exist. Make it, or name another.")
    for file, text in ((path, declaration_text()), (path.with_name(SCHEMA_FILE), schema_text())):
        if file.exists() and file == path:
            raise ConfigError(f"{file} exists. Edit it, or give another name.")
        file.write_text(text, encoding="utf-8")
    output.result({"path": str(path)}, f"wrote {path}: uncomment what is so")
    output.say(f"next: stillhouse terms check TEACHER --terms {path}")


def _check(what: str, terms: "Terms", output: Output) -> None:
    from stillhouse.errors import TermsError
    from stillhouse.provenance import recorded_asking, terms_of
    from stillhouse.terms import is_allowed, refusal

    path = Path(what)
    changes: dict[str, Any] = {}
    lines: list[str] = []
    if path.is_dir():
        found = terms_of(path, terms)
        record = found.record
        changes, lines = _changes_document(found), _changes_text(found)
    elif path.is_file():
        from stillhouse.pipeline import read_config, terms_of_config

        config = read_config(path)
        named = terms if terms.path is not None else None
        record = terms_of_config(config, path.parent, named)
    elif ":" in what:
        record = recorded_asking([what], terms, is_strict=True)
    else:
        raise ConfigError(f"{what} is no folder, no file and no teacher's spec. Check it.")
    document = {**record.model_dump(mode="json"), **changes}
    output.result(document, "\n".join([_record_text(record), *lines, record.note]))
    if not is_allowed(record.verdict):
        raise TermsError(refusal(record, terms))


def _waive(
    source: str,
    options: dict[str, Any],
    key_folder: Path | None,
    out: Path,
    terms: "Terms",
    output: Output,
) -> None:
    from datetime import date

    from stillhouse.terms import Permission, write_waiver

    missing = [name for name, value in options.items() if not value]
    if missing:
        raise ConfigError(f"terms waive needs {', '.join(missing)} too.")
    try:
        until = date.fromisoformat(options["--until"])
    except ValueError as err:
        raise ConfigError(f"--until {options['--until']!r} is no day; give YYYY-MM-DD.") from err
    private = signing_key(options["--key"], key_folder)
    permission = Permission(
        owner=private.public.name,
        source=source,
        clauses=tuple(options["--clause"]),
        grantee=options["--grantee"],
        scope=options["--scope"],
        teacher=options["--teacher"],
        valid_until=until,
    )
    write_waiver(out, permission, private, registry=terms.registry, now=terms.now)
    output.result(
        {"path": str(out), **permission.model_dump(mode="json")},
        f"{out}: {permission.owner} permits {permission.grantee} until {until}",
    )


def _list_document(registry: "Registry") -> dict[str, Any]:
    return {
        "version": registry.version,
        "sha256": registry.sha256,
        "sources": [
            {"id": one.id, "title": one.title, "owner": one.owner, "clauses": len(one.clauses)}
            for one in registry.sources.values()
        ],
    }


def _list_text(registry: "Registry") -> str:
    from stillhouse.terms import NOTE

    rows = [
        [
            one.id,
            max(text.date for text in one.texts.values()),
            ", ".join(sorted({text.evidence for text in one.texts.values()})),
            one.title,
        ]
        for one in sorted(registry.sources.values(), key=lambda one: one.id)
    ]
    table = table_text(["source", "date", "known by", "what"], rows)
    return f"{table}\nregistry {registry.version} ({registry.sha256[:12]}). {NOTE}"


def _source_text(source: "Source") -> str:
    from stillhouse.terms import NOTE, effect_text

    lines = [f"{source.id}: {source.title} ({source.owner})"]
    for text in source.texts.values():
        digest = text.sha256 or "no hash held"
        lines += ["", f"{text.url}", f"  {text.date}, {text.evidence}, read {text.read}, {digest}"]
        lines += [f"  {text.note}"] if text.note else []
    for clause in source.clauses:
        lines += ["", clause.id, f"  {clause.summary}"]
        lines += [f"  disputed: {clause.disputed}"] if clause.disputed else []
        lines += [f"  {effect_text(one)}" for one in clause.effects] or ["  permits"]
    return "\n".join([*lines, "", NOTE])


def _record_text(record: "TermsRecord") -> str:
    rows = [
        [
            one.verdict.replace("_", " "),
            one.origin,
            one.source or "-",
            "-" if one.rows is None else f"{one.rows:,}",
            one.reason,
        ]
        for one in record.findings
    ]
    lines = [table_text(["verdict", "origin", "source", "rows", "why"], rows)] if rows else []
    if record.duties:
        lines += ["", "duties:"]
    lines += [
        f"  {duty.kind.replace('_', ' ')}: {duty.value} ({duty.clause})" for duty in record.duties
    ]
    lines += [f"contradiction: {one.reason}" for one in record.conflicts]
    lines += [
        f"waived by {one.owner} until {one.valid_until}: {', '.join(one.clauses)}"
        for one in record.waivers
    ]
    return "\n".join([*lines, f"verdict: {record.verdict.replace('_', ' ')}"])


def _changes_document(found: "LineageTerms") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "changes": [{**asdict(one), "folder": str(one.folder)} for one in found.changes],
        "num_unrecorded": found.num_unrecorded,
    }


def _changes_text(found: "LineageTerms") -> list[str]:
    lines = [
        f"{path_text(one.folder)} recorded {one.recorded} for {one.origin} ({one.source}); today "
        f"it is {one.today}"
        for one in found.changes
    ]
    if found.num_unrecorded:
        lines.append(f"{found.num_unrecorded} artefacts recorded no verdict")
    return lines
