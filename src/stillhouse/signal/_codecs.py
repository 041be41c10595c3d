"""The codecs by name."""

from collections.abc import Callable, Mapping
from typing import Any

from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.signal._codec import Codec
from stillhouse.signal._dense_codecs import HeadCacheCodec, HiddenCodec, TokenCodec
from stillhouse.signal._sampled_codec import SampledCodec
from stillhouse.signal._topk_codec import AdaptiveCodec, RelativeCodec, TopKCodec


def _with_head(kind: type[HiddenCodec | HeadCacheCodec]) -> Callable[..., Codec[Any]]:
    def make(*, head_shape: list[int], head_sha256: str, dtype: Any) -> Codec[Any]:
        rows, columns = head_shape
        return kind((int(rows), int(columns)), str(head_sha256), dtype)

    return make


CODECS: Mapping[str, tuple[int, Callable[..., Codec[Any]]]] = {
    "topk": (TopKCodec.version, TopKCodec),
    "adaptive": (AdaptiveCodec.version, AdaptiveCodec),
    "relative": (RelativeCodec.version, RelativeCodec),
    "sampled": (SampledCodec.version, SampledCodec),
    "actual": (TokenCodec.version, TokenCodec),
    "hidden": (HiddenCodec.version, _with_head(HiddenCodec)),
    "kl_cache": (HeadCacheCodec.version, _with_head(HeadCacheCodec)),
}
"""Version and maker of each codec."""


def codec_of(description: Any) -> Codec[Any]:
    """The codec that `describe` described.

    Raises:
        IntegrityError: this version knows no such codec, version or parameters.
    """
    try:
        name, version = description["name"], description["version"]
        known, make = CODECS[name]
    except (KeyError, TypeError) as err:
        raise IntegrityError(
            f"its codec is {description!r}; this version reads {', '.join(CODECS)}"
        ) from err
    if version != known:
        raise IntegrityError(f"version {version} of codec {name}; this version reads {known}")
    try:
        return make(**description["parameters"])
    except (KeyError, TypeError, ValueError, ConfigError) as err:
        raise IntegrityError(f"the parameters of codec {name} are not right ({err})") from err
