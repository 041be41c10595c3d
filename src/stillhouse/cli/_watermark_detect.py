"""What the `watermark` command does with texts: detect, identify, calibrate, forecast."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.cli._output import Output, table_text
from stillhouse.cli._watermark_texts import read_texts

if TYPE_CHECKING:
    from stillhouse.watermark import (
        Calibration,
        Detection,
        Forecast,
        NgramFilter,
        Profile,
        Span,
        WatermarkKey,
    )

CALIBRATED = (50, 100, 200, 400)
FORECAST = (25, 50, 100, 200, 400, 800)
"""Lengths in tokens that are told of, unless others are asked for."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What texts are tested with.

    Attributes:
        source: Where they are; see `read_texts`.
        profile: File of the profile.
        key: Name or file of its key; None looks for it in the folder of keys.
        folder: Of keys; None for the usual one.
        trust: File that says who may sign profiles; None for anybody.
        model: Whose tokenizer reads text.
        common: File of common n-grams, which are not counted.
        level: Chance of a false alarm.
    """

    source: str
    profile: Path
    key: str | None
    folder: Path | None
    trust: Path | None
    model: str
    common: Path | None
    level: float


def run_detect(output: Output, tested: Tested, *, prompt: Path | None, is_located: bool) -> None:
    """Print the p-value of each text, corrected for their number."""
    from stillhouse.watermark import detect_many, locate_marks

    profile, key = _profile_and_key(tested)
    common = _common(tested)
    texts = read_texts(tested.source, profile=profile, model=tested.model, prompt=prompt)
    found = detect_many(
        [text.ids for text in texts],
        profile,
        key,
        prompts=[text.prompt_ids or [] for text in texts],
        common=common,
    )
    adjusted = _holm([one.log10_p for one in found])
    parts = [
        locate_marks(
            text.ids, profile, key, prompt=text.prompt_ids, common=common, level=tested.level
        )
        if is_located
        else []
        for text in texts
    ]
    rows = [
        {
            "name": text.name,
            **one.document(),
            "log10_adjusted_p": log10_adjusted,
            "is_marked": _is_rare(log10_adjusted, tested.level),
            **({"parts": [asdict(span) for span in spans]} if is_located else {}),
        }
        for text, one, log10_adjusted, spans in zip(texts, found, adjusted, parts, strict=True)
    ]
    document = {
        "profile_id": profile.profile_id,
        "scheme": profile.scheme,
        "level": tested.level,
        "texts": rows,
    }
    if len(rows) == 1:
        output.result(document, _one_text(found[0], parts[0], tested.level))
        return
    cells = [_cells(row, is_located) for row in rows]
    header = ["text", "tokens", "scored", "log10 p", "corrected", "marked"]
    header += ["parts"] if is_located else []
    num_marked = sum(bool(row["is_marked"]) for row in rows)
    output.result(
        document,
        f"{table_text(header, cells)}\n{num_marked} of {len(rows)} are marked at {tested.level:g} "
        "over all of them",
    )


def run_identify(output: Output, tested: Tested, *, prompt: Path | None, customers: Path) -> None:
    """Print whose key marked a text."""
    from stillhouse.errors import ConfigError
    from stillhouse.watermark import identify

    profile, key = _profile_and_key(tested)
    texts = read_texts(tested.source, profile=profile, model=tested.model, prompt=prompt)
    if len(texts) != 1:
        raise ConfigError(f"{tested.source} holds {len(texts)} texts. Give one at a time.")
    found = identify(
        texts[0].ids,
        profile,
        key,
        _names(customers),
        prompt=texts[0].prompt_ids,
        common=_common(tested),
        level=tested.level,
    )
    document = {"profile_id": profile.profile_id, **asdict(found)}
    named = {one.customer for one in found.found}
    rows = [
        [
            one.customer,
            _short(one.log10_p),
            _short(one.log10_adjusted_p),
            "yes" if one.customer in named else "no",
        ]
        for one in (*found.found, *found.next)
    ]
    table = table_text(["customer", "log10 p", "corrected", "named"], rows)
    output.result(
        document,
        f"{table}\n{found.num_customers:,} keys tried on {found.num_scored:,} tokens; nobody is "
        f"named wrongly but with a chance of {found.level:g}",
    )


def run_calibrate(
    output: Output,
    tested: Tested,
    *,
    out: Path,
    lengths: list[int],
    num_decoys: int,
    min_documents: int,
) -> None:
    """Print how often unmarked texts are told to be marked, and write the common n-grams."""
    from stillhouse.watermark import calibrate

    profile, key = _profile_and_key(tested)
    texts = read_texts(tested.source, profile=profile, model=tested.model)
    output.say(f"testing {len(texts):,} documents with {num_decoys} decoy keys")
    found = calibrate(
        [text.ids for text in texts],
        profile,
        key,
        lengths=lengths,
        levels=(0.01, tested.level) if tested.level != 0.01 else (0.01,),
        num_decoys=num_decoys,
        min_documents=min_documents,
    )
    found.common.save(out)
    document = {"profile_id": profile.profile_id, "common": str(out), **found.document()}
    output.result(document, _calibrated(found, out))


def run_forecast(
    output: Output,
    profile: "Profile",
    *,
    entropies_nats: list[float],
    logprobs: Path | None,
    lengths: list[int],
    level: float,
    target: float,
    scored_fraction: float,
) -> None:
    """Print how likely marks are to be found, by length."""
    from stillhouse.watermark import forecast

    found = forecast(
        profile,
        entropies_nats=entropies_nats,
        probabilities=None if logprobs is None else _probabilities(logprobs),
        lengths=lengths,
        level=level,
        target=target,
        scored_fraction=scored_fraction,
    )
    document = {
        "scheme": profile.scheme,
        **asdict(found),
        "power": [{"tokens": length, "power": each} for length, each in found.power.items()],
    }
    output.result(document, _forecast_text(found))


def forecast_profile(scheme: str, parameters: dict[str, float]) -> "Profile":
    """A profile of a scheme for a forecast, which needs neither a key nor a tokenizer."""
    from pydantic import ValidationError

    from stillhouse.errors import ConfigError
    from stillhouse.watermark import Profile

    given = {"scheme": scheme, "parameters": parameters, "key_id": "0" * 64}
    try:
        return Profile.model_validate({**given, "tokenizer_sha256": "0" * 64})
    except ValidationError as err:
        reason = err.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"There is no such profile: {reason}. Correct it.") from err


def opened_profile(path: Path, trust: Path | None) -> "Profile":
    """The profile in a file, whose signature fits."""
    from datetime import UTC, datetime

    from stillhouse.signing import load_trust
    from stillhouse.watermark import read_profile

    trusted = None if trust is None else load_trust(trust)
    return read_profile(path, trust=trusted, now=datetime.now(UTC)).profile


def _profile_and_key(tested: Tested) -> "tuple[Profile, WatermarkKey]":
    from stillhouse.watermark import find_key, key_path, load_watermark_key

    profile = opened_profile(tested.profile, tested.trust)
    if tested.key is None:
        return profile, find_key(profile.key_id, tested.folder)
    given = Path(tested.key)
    path = given if given.is_file() or given.is_symlink() else key_path(tested.key, tested.folder)
    return profile, load_watermark_key(path)


def _common(tested: Tested) -> "NgramFilter | None":
    from stillhouse.watermark import NgramFilter

    return None if tested.common is None else NgramFilter.load(tested.common)


def _holm(log10_p: list[float]) -> list[float]:
    """Corrected for their number; in logarithms, since p-values may be too small for a float."""
    import numpy as np

    order = np.argsort(log10_p, kind="stable")
    steps = np.log10(np.arange(len(order), 0, -1))
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.array(log10_p)[order] + steps), 0.0)
    return [float(value) + 0.0 for value in adjusted]  # and not -0.0


def _is_rare(log10_p: float, level: float) -> bool:
    from math import log10

    return log10_p <= log10(level)


def _one_text(found: "Detection", parts: list["Span"], level: float) -> str:
    verdict = "marked" if found.is_marked(level) else "not shown to be marked"
    lines = [
        f"{verdict}: p = {_p_text(found.log10_p)}, level {level:g}",
        f"{found.num_scored:,} of {found.num_tokens:,} tokens counted; "
        f"{found.num_without_context:,} without a context, {found.num_repeated:,} repeated, "
        f"{found.num_in_prompt:,} in the prompt, {found.num_common:,} common",
    ]
    lines += [
        f"tokens {part.start:,} to {part.end:,}: p = {_p_text(part.log10_p)}, corrected"
        for part in parts
    ]
    return "\n".join(lines)


def _p_text(log10_p: float) -> str:
    """A p-value with two digits, however small."""
    from math import floor

    if log10_p > -3:
        return f"{10**log10_p:.2g}"
    power = floor(log10_p)
    return f"{10 ** (log10_p - power):.1f}e{power}"


def _cells(row: dict[str, Any], is_located: bool) -> list[str]:
    cells = [
        row["name"],
        f"{row['num_tokens']:,}",
        f"{row['num_scored']:,}",
        _short(row["log10_p"]),
        _short(row["log10_adjusted_p"]),
        "yes" if row["is_marked"] else "no",
    ]
    if is_located:
        cells.append(", ".join(f"{part['start']}-{part['end']}" for part in row["parts"]))
    return cells


def _short(log10_p: float) -> str:
    return f"{round(log10_p, 1) + 0.0:.1f}"  # and not -0.0


def _names(path: Path) -> list[str]:
    from stillhouse.errors import ConfigError

    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} cannot be read ({err!s:.100}). Give a name a line.") from err
    return [line.strip() for line in lines if line.strip()]


def _probabilities(path: Path) -> list[float]:
    """Of sampled tokens, from lines of JSON lists of their log-probabilities."""
    from math import exp

    import orjson

    from stillhouse.errors import ConfigError

    found: list[float] = []
    try:
        with path.open("rb") as stream:
            for line in filter(bytes.strip, stream):
                found += [exp(value) for value in orjson.loads(line)]
    except (OSError, TypeError, ValueError, OverflowError) as err:
        raise ConfigError(
            f"{path} cannot be read ({err!s:.100}). Give a list of log-probabilities a line."
        ) from err
    return found


def _calibrated(found: "Calibration", out: Path) -> str:
    header = ["tokens", "level", "common", "texts", "counted", "false alarms (95 %)"]
    header += ["of decoys", "spread", "by chance", "worst"]
    rows = [
        [
            str(row.length),
            f"{row.level:g}",
            "left out" if row.without_common else "counted",
            f"{row.num_texts:,}",
            f"{row.scored_fraction:.0%}",
            f"{row.rate.value:.4f} ({row.rate.low:.4f}-{row.rate.high:.4f})",
            f"{row.mean_rate:.4f}",
            f"{row.sd_over_keys:.4f}",
            f"{row.sd_by_chance:.4f}",
            f"{row.worst_rate:.4f}",
        ]
        for row in found.rows
    ]
    return (
        f"{table_text(header, rows)}\n{len(found.common.hashes_N):,} common n-grams of "
        f"{found.num_reference:,} other documents are in {out}. Use them: stillhouse watermark "
        f"detect FILE --common {out}"
    )


def _forecast_text(found: "Forecast") -> str:
    rows = [[f"{length:,}", f"{each:.1%}"] for length, each in found.power.items()]
    table = table_text(["tokens", f"found at {found.level:g}"], rows)
    if found.tokens_needed is None:
        return f"{table}\nthere is no choice between tokens, and so no text is long enough"
    return (
        f"{table}\n{found.tokens_needed:,} tokens are needed to find {found.target:.0%} of marked "
        "texts"
    )
