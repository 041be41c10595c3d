"""The `proxy` command: an application's real traffic becomes a ledger."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption, TermsOption
from stillhouse.cli._output import Output

if TYPE_CHECKING:
    from stillhouse.collect import Proxy, ProxyCounts

_MOST_LISTED = 10


def proxy(
    to: Annotated[
        str, typer.Option("--to", metavar="PROVIDER", help="Who answers (docs/providers.md).")
    ],
    ledger: Annotated[
        Path, typer.Option(metavar="FILE", help="Where calls are recorded; made when absent.")
    ] = Path("ledger.sqlite"),
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8460,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote", help="Let other machines in: whoever reaches the proxy uses its key."
        ),
    ] = False,
    record_fraction: Annotated[
        float, typer.Option(metavar="X", help="Share of the calls that is recorded, 0 to 1.")
    ] = 1.0,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse calls while they cannot be recorded."),
    ] = False,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="For calls under way when it is stopped.")
    ] = 30.0,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own prices (docs/prices.md).")
    ] = None,
    terms: TermsOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Pass an application's calls on to a provider, unchanged, and record them.

    Set the address that it prints as the base URL of the application. Stop it with Ctrl-C: calls
    under way may end first. `stillhouse import LEDGER --from ledger` makes completions of what was
    recorded.
    """
    from stillhouse.collect import ProxyConfig, serve_proxy

    config = ProxyConfig(
        to=to,
        ledger=ledger,
        host=host,
        port=port,
        allows_remote=allow_remote,
        record_fraction=record_fraction,
        is_strict=strict,
        grace_s=grace,
        prices=prices,
        terms=terms,
    )
    output = Output(is_json=json, is_quiet=quiet)
    counts = serve_proxy(config, on_ready=lambda proxy: _greet(output, proxy, config.ledger))
    output.result(_document(counts, ledger), _text(counts, ledger))
    if counts.num_answers:
        output.say(f"next: stillhouse import {ledger} --from ledger")


def _greet(output: Output, proxy: "Proxy", ledger: Path) -> None:
    upstream = proxy.upstream
    provider = upstream.provider
    variable = provider.base_url_variable
    output.say(f"listening at {proxy.url} for {provider.title} ({upstream.base_url})")
    output.say(f"set in your application: {variable}={proxy.url}{upstream.base_path}")
    if provider.key_variable is not None and not upstream.has_key:
        output.say(f"{provider.key_variable} is not set: callers have to send their own key")
    if proxy.orphans:
        output.say(f"{len(proxy.orphans)} calls of an earlier process have no outcome, maybe paid:")
        for call in proxy.orphans[:_MOST_LISTED]:
            output.say(
                f"  {call.request_id[:16]} to {call.teacher}, sent {call.sent_utc:%F %T} UTC"
            )
    output.say(f"recording to {ledger}; Ctrl-C stops")


def _document(counts: "ProxyCounts", ledger: Path) -> dict[str, Any]:
    from dataclasses import asdict

    return {"ledger": str(ledger), **asdict(counts)}


def _text(counts: "ProxyCounts", ledger: Path) -> str:
    parts = [f"{counts.num_answers:,} answers in {ledger}"]
    parts += [f"{number:,} {kind}" for kind, number in sorted(counts.errors.items())]
    others = {
        "passed unrecorded": counts.num_passed,
        "not readable": counts.num_unreadable,
        "refused": counts.num_refused,
        "LOST TO THE LEDGER": counts.num_unrecorded,
    }
    parts += [f"{number:,} {what}" for what, number in others.items() if number]
    parts.append(f"{counts.prompt_tokens:,} + {counts.completion_tokens:,} tokens")
    cost = f"${counts.cost_usd:,.4f}"
    parts.append(
        f"{cost} and {counts.num_unpriced:,} of unknown cost" if counts.num_unpriced else cost
    )
    return f"{counts.num_calls:,} calls: {', '.join(parts)}"
