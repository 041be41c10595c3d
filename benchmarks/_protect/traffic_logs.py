"""Logs that many campaigns are added to in turn, without hashing their benign part again.

What recurs in a log depends on all of its requests, so that frames and clusters are computed anew
for each campaign; words, cues and pseudonyms are not. The table is the same, bit for bit, as that
of reading the merged rows.

Letters: N requests, W words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from benchmarks._protect.traffic_made import KEY, Made

from stillhouse.traffic import Featuriser, PromptFeatures, Table
from stillhouse.traffic._features import PromptWords
from stillhouse.traffic._monitor import joined
from stillhouse.traffic._table import Columns, early
from stillhouse.traffic._words import HashedWords
from stillhouse.traffic.simulate import Account, Sent, labels

_BATCH = 512


class Sender(Protocol):
    """A simulator, or what stands for one."""

    def sent(self, accounts: Sequence[Account]) -> list[Sent]:
        """All that accounts send, in the order of time."""


@dataclass(frozen=True)
class Log:
    """Requests of accounts, before what recurs among them is known.

    Attributes:
        plain: Their columns; frames and contents are empty.
        kind_A: Of each account.
        is_bad_N: Whether each request is extraction.
        words: Of the prompts.
    """

    plain: Table
    kind_A: npt.NDArray[np.str_]
    is_bad_N: npt.NDArray[np.bool_]
    words: PromptWords

    @classmethod
    def of(cls, simulated: Sender, accounts: Sequence[Account]) -> Self:
        """What accounts send."""
        sent = simulated.sent(accounts)
        rows = [one.row for one in sent]
        words = _words([row.prompt or "" for row in rows])
        pseudonyms = {name: KEY.account(name) for name in labels(accounts)}
        columns = Columns()
        # Nothing recurs in no words: the places of features, to be filled when the log is whole.
        nothing = Featuriser(KEY).features([""] * len(rows))
        columns.add(rows, [pseudonyms[row.account] for row in rows], nothing)
        kinds = {pseudonyms[name]: kind for name, kind in labels(accounts).items()}
        table = columns.table()
        kind_A = np.array([kinds[name] for name in table.accounts])
        return cls(table, kind_A, np.array([one.is_extraction for one in sent]), words)

    def with_(self, other: Self) -> Self:
        """Both logs as one, in the order of time; accounts of `other` are numbered after these."""
        one, two = self.plain, other.plain
        models = tuple(dict.fromkeys((*one.models, *two.models)))
        number_by_model = np.array([models.index(name) for name in two.models], np.int16)
        moved = replace(
            two,
            account_N=two.account_N + np.int32(len(one.accounts)),
            model_N=number_by_model[two.model_N],
        )
        order = np.argsort(np.concatenate([one.time_N, two.time_N]), kind="stable")
        columns = {
            name: np.concatenate([getattr(one, name), getattr(moved, name)])[order]
            for name in Table.__dataclass_fields__
            if isinstance(getattr(one, name), np.ndarray)
        }
        columns["early_N"] = early(columns["time_N"], columns["model_N"])
        table = replace(one, accounts=one.accounts + two.accounts, models=models, **columns)
        return replace(
            self,
            plain=table,
            kind_A=np.concatenate([self.kind_A, other.kind_A]),
            is_bad_N=np.concatenate([self.is_bad_N, other.is_bad_N])[order],
            words=_joined_words(self.words, other.words, order),
        )

    def made(self) -> Made:
        """With what recurs."""
        featuriser = Featuriser(KEY)
        counts_N = np.bincount(self.words.hashed.prompt_W, minlength=len(self.plain))
        edges = np.concatenate([[0], np.cumsum(counts_N)])
        parts: list[PromptFeatures] = []
        for start in range(0, len(self.plain), _BATCH):
            end = min(start + _BATCH, len(self.plain))
            some = slice(edges[start], edges[end])
            hashed = HashedWords(
                self.words.hashed.words_W[some],
                self.words.hashed.prompt_W[some] - start,
                end - start,
            )
            words = PromptWords(hashed, self.words.cues_N[start:end])
            parts.append(featuriser.features_of(words))
        found = joined(parts)
        table = replace(
            self.plain,
            frame_NB=found.frame_NB,
            content_NC=found.content_NC,
            cues_N=found.cues_N,
            words_N=found.words_N,
        )
        return Made(table, self.kind_A, self.is_bad_N)


def made_in_parts(
    simulated: Sender, accounts: Sequence[Account], *, num_accounts: int = 400
) -> Made:
    """What accounts send, the prompts of so many of them in memory at a time."""
    parts = (
        Log.of(simulated, accounts[start : start + num_accounts])
        for start in range(0, len(accounts), num_accounts)
    )
    return reduce(Log.with_, parts).made()


def _words(texts: Sequence[str]) -> PromptWords:
    featuriser = Featuriser(KEY)
    parts = [
        featuriser.words(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)
    ]
    prompt_W = [part.hashed.prompt_W + _BATCH * number for number, part in enumerate(parts)]
    hashed = HashedWords(
        np.concatenate([part.hashed.words_W for part in parts]),
        np.concatenate(prompt_W),
        len(texts),
    )
    return PromptWords(hashed, np.concatenate([part.cues_N for part in parts]))


def _joined_words(one: PromptWords, two: PromptWords, order: npt.NDArray[np.int64]) -> PromptWords:
    words_W = np.concatenate([one.hashed.words_W, two.hashed.words_W])
    counts_N = np.concatenate(
        [np.bincount(w.hashed.prompt_W, minlength=w.hashed.num_prompts) for w in (one, two)]
    )
    starts_N = np.concatenate([[0], np.cumsum(counts_N)[:-1]])
    new_counts_N = counts_N[order]
    prompt_W = np.repeat(np.arange(len(order)), new_counts_N)
    new_starts_N = np.concatenate([[0], np.cumsum(new_counts_N)[:-1]])
    place_W = np.arange(len(words_W)) - new_starts_N[prompt_W] + starts_N[order][prompt_W]
    hashed = HashedWords(words_W[place_W], prompt_W, len(order))
    return PromptWords(hashed, np.concatenate([one.cues_N, two.cues_N])[order])
