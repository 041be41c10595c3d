"""The range: every attack against every defence, measured on both sides."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from stillhouse.artifacts import Artifact, FolderLock, atomic_write_bytes
from stillhouse.collect import read_prompts
from stillhouse.pipeline._demo import DEMO_DIR
from stillhouse.pipeline._range._config import AttackConfig, DefenceConfig, RangeConfig
from stillhouse.pipeline._range._estimates import cost_of, kl_of, quality_of, right_of
from stillhouse.pipeline._range._field import OpenField, Place
from stillhouse.pipeline._range._kept import fingerprint, kept
from stillhouse.pipeline._range._keys import OwnerKeys
from stillhouse.pipeline._range._measure import Judge
from stillhouse.pipeline._range._owner import AnswerCost, Owner, Trace
from stillhouse.pipeline._range._page import range_svg, render_range
from stillhouse.pipeline._range._results import (
    Control,
    Cost,
    Detection,
    FieldResult,
    RangeResults,
    RangeRow,
    TestName,
)
from stillhouse.pipeline._range._seen import Seen, see
from stillhouse.pipeline._range._students import make_student
from stillhouse.pipeline._range._traffic import Asked, Attempt, Honest
from stillhouse.pipeline._range._words import notes_text, verdict_text
from stillhouse.records import canonical_json
from stillhouse.runlog import Listener, Ticker, ignore_progress

RESULTS_NAME, PAGE_NAME, DRAWING_NAME = "results.json", "range.html", "range.svg"
_LOCK_NAME = ".lock"
_LOG10_2 = 0.3010299956639812


def attack_range(
    out: Path,
    *,
    config: RangeConfig,
    config_dir: Path = Path(),
    command: str = "stillhouse range",
    on_progress: Listener = ignore_progress,
) -> RangeResults:
    """Try attacks against defences with real teachers, real students and the owner's own tests.

    For each pair: what the defence lets the copier collect, a student of it, how close that comes
    to the teacher on held-out prompts, what the owner can show against it, and what the defence
    costs honest users. Answers, students and measurements are kept in `out`; a stopped run goes on
    with what is not there yet. Rows whose copier saw the same share one student.

    Args:
        out: Gets `results.json`, `range.html`, `range.svg`, the owner's keys and a folder for each
            field.
        config: Fields, defences and attacks.
        config_dir: What its paths are relative to.
        command: What the page says reproduces it.
        on_progress: Told where the range and each of its stages stand.

    Raises:
        ConfigError: a model, a file or a setting will not do, or another process works on `out`.
        DataError: there are too few prompts, or nothing to learn, copy or test.
        TermsError: the terms of a teacher or base do not allow it.
        IntegrityError: what an earlier run left is damaged.
    """
    started_s = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(out / _LOCK_NAME, owner=out)
    try:
        run = _Range(out, config, config_dir, on_progress)
        fields: list[FieldResult] = []
        for field in run.fields():
            fields.append(field)
            results = RangeResults(
                title=config.title,
                level=config.level,
                fields=tuple(fields),
                honest_requests=len(run.honest.rows),
                verdict=verdict_text(fields, config.level),
                notes=notes_text(fields, config),
                config=config,
                created_utc=datetime.now(UTC),
                seconds=round(time.monotonic() - started_s, 3),
            )
            # After each field: one that is stopped later shows what there is.
            atomic_write_bytes(out / RESULTS_NAME, canonical_json(results) + b"\n")
            atomic_write_bytes(out / DRAWING_NAME, range_svg(results).encode())
            atomic_write_bytes(out / PAGE_NAME, render_range(results, command=command).encode())
    finally:
        lock.release()
    return results


class _Range:
    def __init__(
        self, out: Path, config: RangeConfig, config_dir: Path, on_progress: Listener
    ) -> None:
        self._config, self._on_progress = config, on_progress
        keys = OwnerKeys(out / "keys")
        terms = None if config.terms is None else str(config_dir / config.terms)
        place = Place(out, config_dir, config.seed, terms)
        self._out, self._terms = out, terms
        self._fields = [OpenField(name, one, place, keys) for name, one in config.fields.items()]
        asked = {field.name: [*field.prompts, *field.held_out] for field in self._fields}
        self.honest = Honest(
            # Honest accounts ask for other things too; a name with a slash is no field's.
            prompts={**asked, "other/news": read_prompts(DEMO_DIR / "demo_prompts.yaml")},
            num_accounts=config.honest_accounts,
            num_reference=config.reference_accounts,
            reference_requests=config.reference_requests,
            key=keys.traffic,
            seed=config.seed,
        )
        self._ticker = Ticker(
            on_progress, stage="range", total=self._num_steps(), unit="steps", interval_s=0.0
        )

    @cached_property
    def _asked(self) -> Asked:
        return self.honest.asked()

    def fields(self) -> Iterator[FieldResult]:
        """Each field with all its pairs."""
        for field in self._fields:
            yield self._field(field)

    def _num_steps(self) -> int:
        steps = 0
        for name, field in self._config.fields.items():
            marks = [one for one in self._config.defences_of(name).values() if one.mark is not None]
            steps += (field.additions is not None) + 1 + len(marks)
            steps += len(self._config.pairs(name)) + 1  # and the controls
        return steps

    def _field(self, field: OpenField) -> FieldResult:
        config = self._config
        if field.config.additions is not None:
            field.teach(self._on_progress)
            self._ticker.advance()
        defences = config.defences_of(field.name)
        for mark in (None, *(one.mark for one in defences.values() if one.mark is not None)):
            field.answers(mark, self._on_progress)
            self._ticker.advance()
        owner = Owner(field, config, field.folder / "measured")
        judge = Judge(field, field.folder / "measured")
        pairs = _Pairs(self, field, judge, owner)
        rows = []
        for defence, attack in config.pairs(field.name):
            rows.append(pairs.row(defence, attack))
            self._ticker.advance()
        controls = tuple(pairs.controls())
        self._ticker.advance()
        base, teacher = judge.base(pairs.reference), judge.teacher()
        clusters, seed = judge.clusters, config.seed
        return FieldResult(
            name=field.name,
            teacher=field.teacher_model.name if field.config.additions is None else "made here",
            measure="kl" if base.right_P is None else "right",
            num_held_out=len(clusters),
            base_kl_nats=kl_of(base, clusters, seed=seed),
            base_right=right_of(base, clusters, seed=seed),
            teacher_right=right_of(teacher, clusters, seed=seed),
            rows=tuple(rows),
            controls=controls,
        )

    def student(self, field: OpenField, seen: Seen, name: str) -> Artifact:
        """The student of what was seen."""
        return make_student(
            field, seen, name=name, terms=self._terms, on_progress=self._on_progress
        )

    def attempt(self, field: OpenField, defence: DefenceConfig, attack: AttackConfig) -> Attempt:
        """What a copier gets past a limit; kept, since it takes thousands of requests."""
        assert defence.limit is not None  # the caller looks
        limit = defence.limit
        asks_logprobs = attack.reads == "logprobs" and not defence.hide_logprobs
        config = self._config
        name = fingerprint(
            {name: [one.id for one in some] for name, some in self.honest.prompts.items()},
            [field.name, len(field.prompts), limit.model_dump(mode="json")],
            [attack.accounts, asks_logprobs, field.config.max_tokens, config.seed],
            [config.honest_accounts, config.reference_accounts, config.reference_requests],
        )
        return kept(
            self._out / "traffic" / f"{name}.json",
            Attempt,
            lambda: self.honest.attempt(
                field.prompts,
                limit,
                accounts=attack.accounts,
                asks_logprobs=asks_logprobs,
                completion_tokens=field.config.max_tokens,
                on_progress=self._on_progress,
            ),
        )

    @property
    def config(self) -> RangeConfig:
        """All settings."""
        return self._config

    @property
    def listener(self) -> Listener:
        """Who is told."""
        return self._on_progress

    def lost(self, defence: DefenceConfig) -> tuple[bool, bool, Asked]:
        """Whether log-probabilities and steps are hidden, and who asks for them."""
        hides_logprobs = defence.hide_logprobs or defence.hide_reasoning
        return hides_logprobs, defence.hide_reasoning, self._asked


@dataclass(frozen=True)
class _Pairs:
    """Defences against attacks in one field."""

    run: _Range
    field: OpenField
    judge: Judge
    owner: Owner

    @cached_property
    def reference(self) -> Artifact:
        """The student of plain text without a defence: the owner can make it too."""
        seen = see(self.field, DefenceConfig(), AttackConfig(), collected=len(self.field.prompts))
        return self.run.student(self.field, seen, f"{self.field.name}: reference")

    def row(self, defence_name: str, attack_name: str) -> RangeRow:
        """One pair."""
        config = self.run.config
        defence, attack = config.defences[defence_name], config.attacks[attack_name]
        reference = self.reference
        attempt = self.run.attempt(self.field, defence, attack) if defence.limit else None
        collected = len(self.field.prompts) if attempt is None else attempt.collected
        seen = see(self.field, defence, attack, collected=collected, on_progress=self.run.listener)
        name = f"{self.field.name}: {defence_name}, {attack_name}"
        student = self.run.student(self.field, seen, name)
        judge = self.judge
        return RangeRow(
            field=self.field.name,
            defence=defence_name,
            attack=attack_name,
            collected=collected,
            num_lessons=len(seen.examples),
            learns="logprobs" if seen.has_logprobs else "text",
            is_fallback=seen.is_fallback,
            num_flagged=0 if attempt is None else attempt.num_flagged,
            quality=quality_of(
                judge.student(student),
                judge.base(reference),
                judge.teacher(),
                judge.clusters,
                seed=config.seed,
            ),
            detection=self._detection(defence, seen, student, attempt),
            cost=self._cost(defence, attempt),
            student_sha256=student.manifest_sha256,
        )

    def controls(self) -> Iterator[Control]:
        """Students of unmarked answers under each mark; the reference itself cannot be one."""
        config = self.run.config
        defences = config.defences_of(self.field.name)
        plain = next(name for name, one in defences.items() if one == DefenceConfig())
        attacks = [attack for name, attack in config.pairs(self.field.name) if name == plain]
        for name, defence in defences.items():
            for attack in attacks if defence.mark is not None else ():
                seen = see(
                    self.field,
                    DefenceConfig(),
                    config.attacks[attack],
                    collected=len(self.field.prompts),
                )
                student = self.run.student(self.field, seen, f"{self.field.name}: control")
                if student.manifest_sha256 == self.reference.manifest_sha256:
                    continue
                assert defence.mark is not None  # there are no attacks else
                trace = self.owner.trace(
                    student,
                    defence.mark,
                    reference=self.reference,
                    on_progress=self.run.listener,
                )
                yield Control(defence=name, attack=attack, trace=trace)

    def _detection(
        self, defence: DefenceConfig, seen: Seen, student: Artifact, attempt: Attempt | None
    ) -> Detection:
        trace, lesson_log10_p = None, None
        if defence.mark is not None:
            lesson_log10_p = self.owner.lesson_log10_p(seen, defence.mark)
            trace = self.owner.trace(
                student, defence.mark, reference=self.reference, on_progress=self.run.listener
            )
        traffic = None if attempt is None else attempt.log10_p
        test, log10_p, reason = _decide(defence, trace, traffic)
        return Detection(
            test=test,
            log10_p=log10_p,
            reason=reason,
            trace=trace,
            traffic_log10_p=traffic,
            lesson_log10_p=lesson_log10_p,
        )

    def _cost(self, defence: DefenceConfig, attempt: Attempt | None) -> Cost:
        hides_logprobs, hides_reasoning, asked = self.run.lost(defence)
        answers: AnswerCost | None = None
        if defence.mark is not None:
            answers = self.owner.answer_cost(defence.mark)
        return cost_of(
            refused=None if attempt is None else attempt.refused,
            lost_logprobs=asked.logprobs if hides_logprobs else None,
            lost_reasoning=asked.reasoning if hides_reasoning else None,
            worse=None if answers is None else answers.worse,
            nll_nats=None if answers is None else answers.nll_nats,
            time_ratio=None if answers is None else answers.time_ratio,
        )


def _decide(
    defence: DefenceConfig, trace: Trace | None, traffic_log10_p: float | None
) -> tuple[TestName, float | None, str]:
    """Which test counts, what it says, and why there is none."""
    if trace is not None and traffic_log10_p is not None:
        return "both", min(0.0, min(trace.log10_p, traffic_log10_p) + _LOG10_2), ""
    if trace is not None:
        return "radioactivity", trace.log10_p, ""
    if traffic_log10_p is not None:
        return "traffic", traffic_log10_p, ""
    if defence.limit is not None:
        return "none", None, "no mark, and nobody watches the traffic"
    if defence == DefenceConfig():
        return "none", None, "no defence"
    return "none", None, "hiding leaves no mark to test for"
