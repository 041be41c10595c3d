"""Import: an export of another tool in, a completions artefact out."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import ConfigDict, Field, ValidationError

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    TeacherRef,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.collect._imports._exchange import BadRowError, Exchange, Kept, NoAnswerError
from stillhouse.collect._imports._formats import Format, FormatName, choose_format
from stillhouse.collect._imports._origin import Origin, open_origin
from stillhouse.collect._imports._plain import PlainFields
from stillhouse.collect._imports._source import Row
from stillhouse.collect._imports._tally import Tally
from stillhouse.collect._prompts import ID_HEX_DIGITS, asked_identity
from stillhouse.errors import DataError, LogprobsUnavailableError, RecordError, TooManyFailuresError
from stillhouse.provenance import recorded_asking, teacher_terms, terms_given, terms_result
from stillhouse.records import (
    Completion,
    Prompt,
    Record,
    Request,
    Sampling,
    canonical_json,
    content_hash,
)
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.scrubbing import scrub, scrub_row
from stillhouse.teachers import read_answer
from stillhouse.teachers._dialects import DIALECTS, MalformedAnswerError
from stillhouse.terms import Terms, TermsRecord

_STAGE = "import"
_PROMPTS_NAME = "prompts.jsonl"
# The rows do not say how they were drawn in terms that could be compared.
_UNKNOWN_SAMPLING = Sampling()


class ImportConfig(Record):
    """How to import."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    format: FormatName = "auto"
    """Whose export the file is; `auto` looks at the first rows."""
    scrub: bool = True
    """Replace personal data and secrets by placeholders."""
    model: str | None = None
    """What answered, where the rows do not say."""
    fields: PlainFields = PlainFields()
    max_failure_fraction: float = Field(default=0.05, ge=0.0, le=1.0)
    """The stage fails when a larger part of the rows cannot be read."""
    unchecked_student_answers: bool = False
    """Of a log of `serve`: whether answers of the student that nobody checked are taken too. Who
    learns from them learns its own mistakes."""
    terms: str | None = Field(default=None, exclude=True)
    """File that declares what the student is for (docs/terms.md); null takes the one that the
    environment variable STILLHOUSE_TERMS names. What it says stands in the results."""


def import_completions(
    source: Path,
    out: Path,
    *,
    config: ImportConfig,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Make a completions artefact of an export.

    Prompts with the same messages become one prompt with several completions. Rows that record no
    answer are dropped by reason, and so are rows that cannot be read. The file is read one row at
    a time; what is held is a hash for each distinct prompt.

    Args:
        source: The export: `.jsonl`, `.ndjson`, `.json` or `.csv`; a ledger; or the folder of a
            log that `serve` wrote.
        out: Folder of the artefact; one that the same inputs made is returned as it is.
        config: How to import.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about the rows read.

    Returns:
        An artefact of the kind `completions`; its results name the format and what was scrubbed.

    Raises:
        TooManyFailuresError: more than `max_failure_fraction` of the rows cannot be read.
        DataError: the file breaks off, changes while it is read, or holds no answer.
        ConfigError: a path is wrong, or the format is not recognised.
    """
    terms = terms_given(config.terms)
    counts_unchecked = config.unchecked_student_answers
    with open_origin(source, counts_unchecked=counts_unchecked) as origin:
        chosen = choose_format(config.format, origin, config.fields)
        resolved = {
            **config.model_dump(mode="json"),
            "format": chosen.name,
            "source_sha256": origin.sha256,
        }
        if is_up_to_date(out, stage=_STAGE, config=resolved):
            return open_artifact(out)
        writer = begin_artifact(
            out,
            kind="completions",
            stage=_STAGE,
            config=resolved,
            config_given=config_given,
            replace=replace,
        )
        try:
            run = _Import(origin, chosen, config, writer, terms)
            return run.finish(Ticker(on_progress, stage=_STAGE, total=None, unit="rows"))
        finally:
            writer.release()


class _Import:
    """One attempt at an import."""

    def __init__(
        self,
        origin: Origin,
        chosen: Format,
        config: ImportConfig,
        writer: ArtifactWriter,
        terms: Terms,
    ) -> None:
        self._origin = origin
        self._format = chosen
        self._config = config
        self._writer = writer
        self._terms = terms
        self._tally = Tally()
        self._num_samples: Counter[str] = Counter()
        self._held_out: set[str] = set()
        self._references: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        self._teachers: set[str] = set()

    def finish(self, ticker: Ticker) -> Artifact:
        """Write completions and prompts, and the manifest."""
        spool = self._writer.work_dir / _PROMPTS_NAME
        num_kept = self._writer.write_rows(
            "completions", self._completions(spool, ticker), Completion
        )
        self._check(num_kept)
        self._writer.write_rows("prompts", _spooled(spool), Prompt)
        tally = self._tally
        # Whatever it is: nothing is spent here, and who learns from the answers is held up.
        verdict = recorded_asking(
            sorted(self._teachers), self._terms, data=self._origin.path.as_posix()
        )
        return self._writer.finish(
            counts=Counts.model_validate(
                {
                    "in": num_kept + tally.dropped.total(),
                    "kept": num_kept,
                    "dropped": dict(sorted(tally.dropped.items())),
                }
            ),
            usage=tally.usage,
            teacher=self._teacher(verdict),
            results={
                **terms_result(verdict),
                "format": self._format.name,
                "source": self._origin.path.name,
                "rows": tally.num_rows,
                "prompts": len(self._num_samples),
                "models": dict(sorted(tally.models.items())),
                "scrubbed": dict(sorted(tally.scrubbed.items())) if self._config.scrub else None,
            },
        )

    def _completions(self, spool: Path, ticker: Ticker) -> Iterator[Completion]:
        with spool.open("wb") as prompts:
            for row in self._origin.rows():
                self._tally.num_rows += 1
                ticker.advance()
                for prompt, completion in self._read(row):
                    if not self._num_samples[prompt.id]:
                        prompts.write(canonical_json(prompt) + b"\n")
                    self._num_samples[prompt.id] += 1
                    self._tally.add(completion)
                    self._teachers.add(completion.teacher or completion.model)
                    yield completion

    def _read(self, row: Row) -> list[tuple[Prompt, Completion]]:
        """The pairs of a row, or none where it is dropped: nothing else may stop an import."""
        try:
            if isinstance(row.value, BadRowError):
                raise row.value
            exchanges = self._format.read(row.value, self._config.fields)
            return [self._pair(exchange, index, row) for index, exchange in enumerate(exchanges)]
        except NoAnswerError as err:
            self._tally.dropped[err.reason] += 1
        except BadRowError as err:
            self._tally.add_bad(row.where, err)
        except (MalformedAnswerError, RecordError) as err:
            self._tally.add_bad(row.where, BadRowError("malformed", str(err)))
        except ValidationError as err:
            first = err.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            self._tally.add_bad(row.where, BadRowError("malformed", f"{place}: {first['msg']}"))
        return []

    def _pair(self, exchange: Exchange, index: int, row: Row) -> tuple[Prompt, Completion]:
        """The prompt and completion of an exchange, scrubbed before anything is made of them."""
        prompt = Prompt(
            id="-",
            messages=exchange.messages,
            split=exchange.split,
            group=exchange.group,
            tools=exchange.tools,
            output_schema=exchange.output_schema,
            labels=exchange.labels,
            reference=exchange.reference,
        )
        completion = self._answer(exchange, prompt)
        if self._config.scrub:
            scrubbed = scrub_row(prompt, completion)
            self._tally.scrubbed.update(scrubbed.counts)
            prompt, completion = scrubbed.prompt, scrubbed.completion
        prompt_id = asked_identity(prompt)[:ID_HEX_DIGITS]
        self._check_split(prompt_id, prompt)
        self._check_reference(prompt_id, prompt)
        prompt = prompt.model_copy(update={"id": prompt_id, "group": self._group(prompt.group)})
        # Choices of one row are counted before the first of them is written.
        request = Request.of(
            prompt,
            teacher=completion.teacher,
            sampling=exchange.kept.sampling if exchange.kept else _UNKNOWN_SAMPLING,
            sample_index=self._num_samples[prompt_id] + index,
        )
        update = {
            "request_id": request.id,
            "prompt_id": prompt.id,
            "sample_index": request.sample_index,
            "source": f"request {exchange.kept.answer.request_id}" if exchange.kept else row.where,
        }
        return prompt, completion.model_copy(update=update)

    def _answer(self, exchange: Exchange, prompt: Prompt) -> Completion:
        """The answer as the dialect's own reading gives it."""
        if exchange.kept is not None:
            return _recorded_answer(exchange.kept, prompt)
        body = exchange.body
        model = body.get("model") or self._config.model or f"import:{self._format.name}"
        request = Request.of(prompt, teacher=str(model), sampling=_UNKNOWN_SAMPLING)
        try:
            raw = orjson.dumps({**body, "model": model})
        except orjson.JSONEncodeError as err:
            raise BadRowError("malformed", f"cannot be written as JSON ({err})") from err
        completion = DIALECTS[exchange.dialect].completion(raw, request)
        is_duration = math.isfinite(exchange.seconds) and exchange.seconds >= 0
        seconds = exchange.seconds if is_duration else 0.0
        usage = completion.usage.model_copy(update={"seconds": seconds})
        created = _time_of(body, self._origin.made_utc)
        return completion.model_copy(update={"usage": usage, "created_utc": created})

    def _check_split(self, prompt_id: str, prompt: Prompt) -> None:
        if not self._num_samples[prompt_id]:
            if prompt.split == "held_out":
                self._held_out.add(prompt_id)
        elif (prompt_id in self._held_out) != (prompt.split == "held_out"):
            raise BadRowError(
                "both_splits", "an earlier row has the same prompt on the other side of the split"
            )

    def _check_reference(self, prompt_id: str, prompt: Prompt) -> None:
        if prompt.reference is None:
            return
        digest = content_hash(prompt.reference)
        if not self._num_samples[prompt_id]:
            self._references[prompt_id] = digest
        elif self._references.get(prompt_id) != digest:
            raise BadRowError(
                "other_reference", "an earlier row has the same prompt with another reference"
            )

    def _group(self, group: str | None) -> str | None:
        """The group's name, or a number for it where the name is something to be scrubbed."""
        if group is None or not self._config.scrub:
            return group
        if not scrub(group).counts:
            return group
        return self._groups.setdefault(group, f"group-{len(self._groups) + 1}")

    def _check(self, num_kept: int) -> None:
        tally, path = self._tally, self._origin.path
        self._origin.check_unchanged()
        if tally.num_bad > self._config.max_failure_fraction * tally.num_rows:
            raise TooManyFailuresError(
                f"{tally.num_bad} of {tally.num_rows} rows of {path} cannot be read as "
                f"{self._format.name} ({tally.num_bad / tally.num_rows:.1%}, allowed are "
                f"{self._config.max_failure_fraction:.1%}); the first is {tally.first_bad}. Give "
                "the right --from, mend the file, or raise max_failure_fraction."
            )
        if num_kept == 0:
            reasons = ", ".join(f"{reason} {n}" for reason, n in tally.dropped.most_common())
            raise DataError(
                f"{path} holds no answer to import ({reasons or 'it is empty'}). Check "
                "that it is an export of calls."
            )

    def _teacher(self, verdict: TermsRecord) -> TeacherRef:
        """What answered, when it was one and the same; else the rows say it."""
        models = list(self._tally.models)
        model_id = models[0] if len(models) == 1 else f"import:{self._format.name}"
        return TeacherRef(
            id=model_id, provider="import", revision=None, terms=teacher_terms(verdict)
        )


def _recorded_answer(kept: Kept, prompt: Prompt) -> Completion:
    request = Request.of(prompt, teacher=kept.teacher, sampling=kept.sampling)
    try:
        return read_answer(kept.answer, request)
    except LogprobsUnavailableError:
        # The application asked for them and got none: that is no reason to leave its answer out.
        sampling = kept.sampling.model_copy(update={"top_logprobs": 0})
        request = Request.of(prompt, teacher=kept.teacher, sampling=sampling)
        return read_answer(kept.answer, request)


def _time_of(body: dict[str, Any], otherwise: datetime) -> datetime:
    created = body.get("created") or body.get("created_at") or body.get("createTime")
    try:
        if isinstance(created, str):
            made = datetime.fromisoformat(created)
            return made.replace(tzinfo=made.tzinfo or UTC)
        return datetime.fromtimestamp(created, UTC) if created else otherwise
    except (ValueError, OverflowError, OSError, TypeError) as err:
        raise BadRowError("malformed", f"the time {created!r:.40} cannot be read") from err


def _spooled(path: Path) -> Iterator[Prompt]:
    with path.open("rb") as stream:
        for line in stream:
            yield Prompt.model_validate_json(line)
