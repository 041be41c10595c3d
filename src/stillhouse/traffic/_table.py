"""Requests of a log in columns: what statistics are taken from.

Letters: N requests, B bands, C words of a content.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError
from stillhouse.traffic._features import NUM_BANDS, NUM_CONTENT, Featuriser, PromptFeatures
from stillhouse.traffic._rows import AccessRow, HashedPrompt

_BATCH = 512
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Table:
    """Requests in the order in which a log has them.

    Attributes:
        accounts: Pseudonyms, by number.
        models: Names, by number.
        account_N: Number of the account.
        model_N: Number of the model.
        time_N: Seconds since 1970.
        frame_NB, content_NC, cues_N, words_N: As `PromptFeatures`.
        completion_tokens_N: Of answers.
        logprobs_N: Whether log-probabilities were asked for.
        early_N: Whether it went to a model that was not there from the beginning, within a day of
            the first request to it.
        num_backwards: Requests that are earlier than the one before them.
    """

    accounts: tuple[str, ...]
    models: tuple[str, ...]
    account_N: npt.NDArray[np.int32]
    model_N: npt.NDArray[np.int16]
    time_N: npt.NDArray[np.float64]
    frame_NB: npt.NDArray[np.uint32]
    content_NC: npt.NDArray[np.uint16]
    cues_N: npt.NDArray[np.uint8]
    words_N: npt.NDArray[np.uint16]
    completion_tokens_N: npt.NDArray[np.int32]
    logprobs_N: npt.NDArray[np.bool_]
    early_N: npt.NDArray[np.bool_]
    num_backwards: int = 0

    def __len__(self) -> int:
        return len(self.time_N)

    def since(self, time_s: float) -> Self:
        """The requests from a time on; accounts keep their numbers, also those without any."""
        kept_N = self.time_N >= time_s
        columns = {
            name: getattr(self, name)[kept_N]
            for name in self.__dataclass_fields__
            if isinstance(getattr(self, name), np.ndarray)
        }
        return replace(self, **columns)

    def by_account(self) -> list[npt.NDArray[np.int64]]:
        """Which requests are of each account, in the order of time."""
        order = np.lexsort((self.time_N, self.account_N))
        edges = np.searchsorted(self.account_N[order], np.arange(1, len(self.accounts)))
        return np.split(order, edges)


def read_table(rows: Iterable[AccessRow], featuriser: Featuriser) -> Table:
    """The columns of rows; prompts are hashed a few hundred at a time, and dropped.

    Raises:
        DataError: a row was hashed under another key.
    """
    columns = Columns()
    stream = iter(rows)
    while batch := list(islice(stream, _BATCH)):
        features = read_features(batch, featuriser)
        # Rows with features have pseudonyms already.
        names = [r.account if r.hashed else featuriser.account(r.account) for r in batch]
        columns.add(batch, names, features)
    return columns.table()


def read_features(batch: list[AccessRow], featuriser: Featuriser) -> PromptFeatures:
    """Of rows with prompts or with what became of them, in their order.

    Raises:
        DataError: a row was hashed under another key.
    """
    raw = [place for place, row in enumerate(batch) if row.hashed is None]
    made = featuriser.features([batch[place].prompt or "" for place in raw])
    if len(raw) == len(batch):
        return made
    for row in batch:
        if row.hashed is not None and row.hashed.key != featuriser.key_id:
            raise DataError(
                f"row {row.id!r} was hashed under key {row.hashed.key[:12]}, and the key given is "
                f"{featuriser.key_id[:12]}. Give the key that the log was written with."
            )
    read = [row.hashed for row in batch if row.hashed is not None]
    kept = [place for place, row in enumerate(batch) if row.hashed is not None]
    order = np.argsort(raw + kept, kind="stable")
    parts = (made, unpacked(read))
    return PromptFeatures(
        *(
            np.concatenate([getattr(part, name) for part in parts])[order]
            for name in PromptFeatures.__dataclass_fields__
        )
    )


def packed(features: PromptFeatures, key_id: str) -> Iterator[HashedPrompt]:
    """Features as rows of a log have them."""
    for number in range(len(features)):
        yield HashedPrompt(
            key=key_id,
            frame=features.frame_NB[number].astype("<u4").tobytes().hex(),
            content=features.content_NC[number].astype("<u2").tobytes().hex(),
            cues=int(features.cues_N[number]),
            words=int(features.words_N[number]),
            frame_words=int(features.frame_words_N[number]),
        )


def unpacked(rows: list[HashedPrompt]) -> PromptFeatures:
    """The features that rows of a log have."""
    frame = np.frombuffer(b"".join(bytes.fromhex(row.frame) for row in rows), "<u4")
    content = np.frombuffer(b"".join(bytes.fromhex(row.content) for row in rows), "<u2")
    return PromptFeatures(
        frame_NB=frame.reshape(-1, NUM_BANDS).astype(np.uint32),
        content_NC=content.reshape(-1, NUM_CONTENT).astype(np.uint16),
        cues_N=np.array([row.cues for row in rows], np.uint8),
        words_N=np.array([row.words for row in rows], np.uint16),
        frame_words_N=np.array([row.frame_words for row in rows], np.uint16),
    )


class Columns:
    """Collects rows."""

    def __init__(self) -> None:
        self._accounts: dict[str, int] = {}
        self._models: dict[str, int] = {}
        self._plain: list[tuple[int, int, float, int, bool]] = []
        self._features: list[PromptFeatures] = []

    def add(
        self, batch: Sequence[AccessRow], names: Sequence[str], features: PromptFeatures
    ) -> None:
        """Take rows, the pseudonyms of their accounts, and their features."""
        accounts, models = self._accounts, self._models
        self._plain += [
            (
                accounts.setdefault(name, len(accounts)),
                models.setdefault(row.model, len(models)),
                row.at.timestamp(),
                min(row.completion_tokens, 2**31 - 1),
                row.logprobs,
            )
            for name, row in zip(names, batch, strict=True)
        ]
        self._features.append(features)

    def table(self) -> Table:
        """All of it.

        Raises:
            DataError: there are more models than any service has.
        """
        if len(self._models) > 2**15 - 1:
            raise DataError(
                f"The log names {len(self._models):,} models. Name the model that answered, not "
                "one for each request."
            )
        account, model, time, tokens, logprobs = (
            zip(*self._plain, strict=True) if self._plain else ((), (), (), (), ())
        )
        time_N, model_N = np.array(time, np.float64), np.array(model, np.int16)
        parts = self._features or [unpacked([])]
        return Table(
            accounts=tuple(self._accounts),
            models=tuple(self._models),
            account_N=np.array(account, np.int32),
            model_N=model_N,
            time_N=time_N,
            frame_NB=np.concatenate([part.frame_NB for part in parts]),
            content_NC=np.concatenate([part.content_NC for part in parts]),
            cues_N=np.concatenate([part.cues_N for part in parts]),
            words_N=np.concatenate([part.words_N for part in parts]),
            completion_tokens_N=np.array(tokens, np.int32),
            logprobs_N=np.array(logprobs, bool),
            early_N=early(time_N, model_N),
            num_backwards=int((np.diff(time_N) < 0).sum()) if len(time_N) else 0,
        )


def early(time_N: npt.NDArray[np.float64], model_N: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    if not len(time_N):
        return np.empty(0, bool)
    first = np.full(int(model_N.max()) + 1, np.inf)
    np.minimum.at(first, model_N, time_N)
    # A log's first day says nothing of releases.
    first[first < time_N.min() + _DAY_S] = -np.inf
    return time_N < first[model_N] + _DAY_S
