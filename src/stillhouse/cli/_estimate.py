"""`stillhouse estimate`: what a collection will take, before anything is sent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._collection import money_text, named_teachers
from stillhouse.cli._options import (
    JsonOption,
    MaxTokensOption,
    PromptsArgument,
    QuietOption,
    SamplesOption,
    SetOption,
    TeachersOption,
    TermsOption,
)
from stillhouse.cli._output import Output, table_text
from stillhouse.cli._progress import duration_text
from stillhouse.cli._settings import stage_settings

if TYPE_CHECKING:
    from stillhouse.collect import Estimate, Range
    from stillhouse.teachers import PriceTable
    from stillhouse.terms import TermsRecord

_PROMPT_BASES = {
    "pilot": "as {num} answers counted",
    "tokenizer": "counted with the teacher's tokenizer",
    "text": "guessed from the text",
}
_COMPLETION_BASES = {
    "pilot": "as long as {num} answers",
    "given": "as long as you expect",
    "max_tokens": "max_tokens each: the upper end",
}
_TIME_BASES = {
    "pilot": "time as those took",
    "assumed_speed": "time as of a usual hosted model",
    "batch_window": "time as a batch may take",
}


def estimate(
    prompts: PromptsArgument,
    teacher: TeachersOption = None,
    ledger: Annotated[
        Path, typer.Option(metavar="FILE", help="Of the collection; its answers are learned from.")
    ] = Path("ledger.sqlite"),
    max_tokens: MaxTokensOption = None,
    samples: SamplesOption = None,
    expect: Annotated[
        float | None, typer.Option(metavar="TOKENS", help="How long a completion will be.")
    ] = None,
    terms: TermsOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell what a collection will cost.

    Tokens, money and time, each from a low to a high end, with what they rest on. Nothing is
    sent. Collect fifty prompts first, and the estimate of the rest is good to 15 %. Whether terms
    would let it be sent is told too.
    """
    from stillhouse.collect import CollectConfig, forecast
    from stillhouse.provenance import recorded_asking, terms_given
    from stillhouse.settings import check_settings
    from stillhouse.teachers import price_table

    flags = {
        "sampling.max_tokens": max_tokens,
        "samples_per_prompt": samples,
        "terms": str(terms) if terms else None,
    }
    config = check_settings(CollectConfig, stage_settings(flags, settings), where="settings")
    asked = named_teachers(teacher)
    found = forecast(
        prompts,
        teacher=asked,
        config=config,
        ledger=ledger,
        expected_tokens=expect,
    )
    table = price_table()
    specs = [asked] if isinstance(asked, str) else list(asked.values())
    record = recorded_asking(specs, terms_given(config.terms), data=prompts.as_posix())
    Output(is_json=json, is_quiet=quiet).result(
        _document(found, table, record), _text(found, table, record)
    )


def _document(found: "Estimate", table: "PriceTable", record: "TermsRecord") -> dict[str, Any]:
    prices = {"source": table.source, "taken": table.taken.isoformat()}
    terms = {"verdict": record.verdict, "note": record.note}
    return {**found.model_dump(mode="json"), "prices": prices, "terms": terms}


def _text(found: "Estimate", table: "PriceTable", record: "TermsRecord") -> str:
    header = ("teacher", "requests", "prompt tokens", "tokens written", "cost", "time")
    rows, notes = [], []
    for share in found.teachers:
        cost = share.cost_usd
        rows.append(
            (
                share.teacher,
                f"{share.num_requests:,}",
                _range(share.prompt_tokens, "{:,.0f}"),
                _range(share.completion_tokens, "{:,.0f}"),
                "price unknown" if cost is None else _money_range(cost),
                f"about {duration_text(share.seconds.expected)}",
            )
        )
        prompt = _PROMPT_BASES[share.prompt_basis].format(num=share.num_pilot)
        completion = _COMPLETION_BASES[share.completion_basis].format(num=share.num_pilot)
        notes.append(
            f"{share.teacher}: prompts {prompt}, completions {completion}, "
            f"{_TIME_BASES[share.time_basis]}"
        )
    if len(rows) > 1 and found.cost_usd is not None:
        notes.append(f"together {_money_range(found.cost_usd)}")
    prices = f"prices of {table.taken:%d %B %Y} (docs/prices.md)"
    verdict = record.verdict.replace("_", " ")
    terms = f"terms: {verdict} (stillhouse terms check TEACHER). {record.note}"
    return "\n".join((table_text(header, rows), "", *notes, prices, terms))


def _range(found: "Range", form: str) -> str:
    expected, low, high = (form.format(v) for v in (found.expected, found.low, found.high))
    return expected if low == high else f"{expected} [{low}, {high}]"


def _money_range(found: "Range") -> str:
    expected, low, high = (money_text(v) for v in (found.expected, found.low, found.high))
    return expected if low == high else f"{expected} [{low}, {high}]"
