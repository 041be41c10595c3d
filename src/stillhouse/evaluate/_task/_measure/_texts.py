"""Free text: how scores spread, how long it is, and whether it loops.

Letters: N messages.
"""

from collections.abc import Sequence

import numpy as np

from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._estimates import Estimator
from stillhouse.evaluate._task._measure._scores import Scored
from stillhouse.evaluate._task._records import TextResult
from stillhouse.statistics import is_looping

_NUM_BINS = 10


def text_result(held_out: HeldOut, scored: Scored, estimator: Estimator) -> TextResult:
    """What the texts of one system look like beside the teacher's.

    An invalid answer has a score of 0, no words and no loop.
    """
    texts = scored.texts
    scores = scored.agreement_N[np.isfinite(scored.agreement_N)]
    places = np.minimum((scores * _NUM_BINS).astype(int), _NUM_BINS - 1)
    looping = estimator.mean(
        np.array([text is not None and is_looping(text) for text in texts]), is_binary=True
    )
    assert looping is not None  # there are messages
    return TextResult(
        score_counts=tuple(np.bincount(places, minlength=_NUM_BINS).tolist()),
        looping=looping,
        words=estimator.mean_of_counts(_words(texts), of_N=held_out.has_teacher_N),
        teacher_words=estimator.mean_of_counts(
            _words([row.answer for row in held_out.rows]), of_N=held_out.has_teacher_N
        ),
    )


def _words(texts: Sequence[str | None]) -> list[int]:
    return [0 if text is None else len(text.split()) for text in texts]
