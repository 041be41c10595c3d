"""The schemes by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy.typing as npt

from stillhouse.watermark._green import GreenMark, green_scores
from stillhouse.watermark._gumbel import GumbelMark, gumbel_scores
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._mark import LogitsMark
from stillhouse.watermark._profile import Profile, SchemeName
from stillhouse.watermark._scores import Scores
from stillhouse.watermark._synthid import SynthIdMark, synthid_scores


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to mark, and what it leaves in a text.

    Attributes:
        mark: Makes what marks, for one thread; ConfigError where the key is not the profile's.
        scores: Scores the ids of one text without its prompt; ConfigError as above, DataError
            where the ids are none.
    """

    mark: Callable[[Profile, WatermarkKey], LogitsMark]
    scores: Callable[[Profile, WatermarkKey, npt.ArrayLike], Scores]


SCHEMES: Mapping[SchemeName, Scheme] = {
    "gumbel": Scheme(GumbelMark, gumbel_scores),
    "dual_gumbel": Scheme(GumbelMark, gumbel_scores),
    "kgw": Scheme(GreenMark, green_scores),
    "synthid": Scheme(SynthIdMark, synthid_scores),
}
"""Those that profiles can name."""


def make_mark(profile: Profile, key: WatermarkKey) -> LogitsMark:
    """What marks by a profile, for one thread.

    Raises:
        ConfigError: the key is not the profile's.
    """
    return SCHEMES[profile.scheme].mark(profile, key)


def score_tokens(profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike) -> Scores:
    """The score of each token of one text that has a whole context.

    Args:
        profile: How the text would be marked.
        key: Its key.
        ids_T: The text by the profile's tokenizer, without the prompt.

    Raises:
        ConfigError: the key is not the profile's.
        DataError: an id is negative or no integer.
        ShapeError: more than one text.
    """
    return SCHEMES[profile.scheme].scores(profile, key, ids_T)
