"""What the owner can show against a copy, and what the marks did to honest answers.

Letters: P prompts.
"""

from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np

from stillhouse.artifacts import Artifact
from stillhouse.errors import DataError
from stillhouse.pipeline._range._config import MarkConfig, RangeConfig
from stillhouse.pipeline._range._field import OpenField, answered
from stillhouse.pipeline._range._kept import fingerprint, kept
from stillhouse.pipeline._range._seen import Seen
from stillhouse.pipeline._steps import named
from stillhouse.protect import Inputs, RadioactivityConfig, find_radioactivity
from stillhouse.records import Completion, Record, unit_of
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.statistics import Interval, clustered_bootstrap, paired_bootstrap_difference
from stillhouse.watermark import LogitsMark, detect, make_mark

_ROUNDS, _TIMED_PROMPTS, _TIMED_TOKENS = 3, 8, 24


class Trace(Record):
    """What a copy shows of the owner's key.

    Attributes:
        log10_p: Of the test for radioactivity, with a reference.
        z: Of the same, in standard deviations.
        contexts: That it was tested on.
        decoy_z_mean: Of keys that nobody used; None where none were tried.
        decoy_z_sd: Of the same.
        effect: Mean centred score of the owner's own texts, per token: 0 where they carry no mark.
    """

    log10_p: float
    z: float
    contexts: int
    decoy_z_mean: float | None
    decoy_z_sd: float | None
    effect: float | None


class _Ratio(Record):
    value: float


class AnswerCost(NamedTuple):
    """What a mark does to honest answers.

    Attributes:
        worse: Share of answers that are less likely under the unmarked teacher than an unmarked
            answer to the same prompt, less the share that are likelier.
        nll_nats: What marked answers have more of negative log-likelihood there, per token.
        time_ratio: Processor time for each token over that without a mark.
    """

    worse: Interval
    nll_nats: Interval
    time_ratio: float


@dataclass(frozen=True)
class Owner:
    """Tests suspects of one field.

    Attributes:
        field: Whose teacher was copied.
        config: Of the range.
        folder: Gets a file for each test.
    """

    field: OpenField
    config: RangeConfig
    folder: Path

    def trace(
        self,
        suspect: Artifact,
        mark: MarkConfig,
        *,
        reference: Artifact,
        on_progress: Listener = ignore_progress,
    ) -> Trace:
        """Test a model for what a mark leaves, on all answers that the owner marked.

        Args:
            suspect: The copy.
            mark: The owner's.
            reference: The owner's own student of unmarked answers.
            on_progress: Told as texts are read.
        """
        _, profile = self.field.profile(mark)
        config = RadioactivityConfig(
            max_contexts=self.config.max_contexts, decoys=self.config.decoys, seed=self.config.seed
        )
        name = fingerprint(
            suspect.manifest_sha256,
            reference.manifest_sha256,
            profile.profile_id,
            config.model_dump(mode="json"),
        )

        def tested() -> Trace:
            inputs = Inputs(
                suspect=str(suspect.path),
                texts=self.field.answers(mark).path,
                reference=str(reference.path),
            )
            results = find_radioactivity(
                inputs,
                profile,
                self.field.keys.watermark,
                config=config,
                on_progress=named("test for the mark", on_progress),
            ).results
            decoys = results.decoys
            return Trace(
                log10_p=results.log10_p,
                z=results.tests[results.primary].z,
                contexts=results.counts.contexts,
                decoy_z_mean=None if decoys is None else decoys.z_mean,
                decoy_z_sd=None if decoys is None else decoys.z_sd,
                effect=results.effect,
            )

        return kept(self.folder / f"trace-{name}.json", Trace, tested)

    def lesson_log10_p(self, seen: Seen, mark: MarkConfig) -> float:
        """The p-value of what the copier trained on, should the owner get hold of it."""
        _, profile = self.field.profile(mark)
        chat = self.field.teacher_chat
        ids = [
            token
            for row in seen.examples
            for token in chat.encode_example(
                row.messages, row.completion, row.completion_token_ids
            ).completion_ids
        ]
        # One after the other: contexts over a border are unmarked text, which only costs power.
        return detect(ids, profile, self.field.keys.watermark).log10_p

    def answer_cost(self, mark: MarkConfig) -> AnswerCost:
        """Marked and unmarked answers to the same prompts, as the unmarked teacher rates them.

        Raises:
            DataError: fewer than two prompts have both.
        """
        marked, plain = self.field.answers(mark), self.field.answers()
        prompts = self.field.prompts
        ours = {row.prompt_id: row for row in answered(marked, prompts)}
        theirs = {row.prompt_id: row for row in answered(plain, prompts)}
        both = [one for one in prompts if one.id in ours and one.id in theirs]
        if len(both) < 2:
            raise DataError(
                f"{len(both)} prompts of {self.field.name!r} have an answer with and without the "
                "mark, which says nothing of its cost. Give more prompts."
            )
        clusters = [unit_of(one.id, one.group) for one in both]
        marked_P2 = np.array([_nll(ours[one.id]) for one in both])
        plain_P2 = np.array([_nll(theirs[one.id]) for one in both])
        mean_P = marked_P2[:, 0] / marked_P2[:, 1] - plain_P2[:, 0] / plain_P2[:, 1]
        seed = self.config.seed
        return AnswerCost(
            worse=clustered_bootstrap(
                np.sign(mean_P), np.ones(len(both)), clusters=clusters, seed=seed
            ),
            nll_nats=paired_bootstrap_difference(
                (marked_P2[:, 0], marked_P2[:, 1]),
                (plain_P2[:, 0], plain_P2[:, 1]),
                clusters=clusters,
                seed=seed,
            ),
            time_ratio=self._time_ratio(mark).value,
        )

    def _time_ratio(self, mark: MarkConfig) -> "_Ratio":
        """Median over rounds that time both in turn, so that a busy machine shifts both."""
        _, profile = self.field.profile(mark)

        def timed() -> _Ratio:
            with_mark = make_mark(profile, self.field.keys.watermark)
            ratios = []
            for seed in range(_ROUNDS):
                plain_s = self._generation_s(None, seed)
                ratios.append(self._generation_s(with_mark, seed) / plain_s)
            return _Ratio(value=float(np.median(ratios)))

        return kept(self.folder / f"time-{profile.profile_id[:12]}.json", _Ratio, timed)

    def _generation_s(self, mark: LogitsMark | None, seed: int) -> float:
        """Processor seconds for each token."""
        from stillhouse.models import GenerationJob, generate

        model = self.field.teacher_model
        jobs = [
            GenerationJob(
                key=prompt.id,
                prompt_ids=model.chat.encode_prompt(prompt.messages),
                max_tokens=min(_TIMED_TOKENS, self.field.config.max_tokens),
                temperature=self.field.config.temperature,
                seed=seed,
                mark=mark,
            )
            for prompt in self.field.prompts[:_TIMED_PROMPTS]
        ]

        def pull(wanted: int) -> list[GenerationJob]:
            taken, jobs[:] = jobs[:wanted], jobs[wanted:]
            return taken

        began_s = process_time()
        num_tokens = sum(len(one.ids) for group in generate(model, pull) for one in group)
        return (process_time() - began_s) / num_tokens


def _nll(row: Completion) -> tuple[float, float]:
    """Sum of an answer's negative log-likelihood under the unmarked teacher, and its tokens."""
    logprobs = row.logprobs
    assert logprobs is not None  # local teachers tell them
    return -float(np.sum(logprobs.logprobs)), float(len(logprobs.logprobs))
