"""Marks in what a model generates: keys, profiles, schemes, and the score of each token.

`make_mark` gives what changes logits while a completion is drawn, `score_tokens` what the tokens of
a text say of the mark. A profile holds all that a detector must know but the key. Schemes, the
keyed function and its test vectors: docs/watermark.md. Importing it loads no torch.
"""

from stillhouse.watermark._key import (
    WatermarkKey,
    create_watermark_key,
    load_watermark_key,
)
from stillhouse.watermark._mark import LogitsMark, MarkedRow
from stillhouse.watermark._open import (
    Watermark,
    check_tokenizer,
    find_key,
    key_path,
    make_key,
    open_watermark,
)
from stillhouse.watermark._prf import (
    Subkeys,
    context_hash,
    context_hashes,
    token_hashes,
    token_uniforms,
)
from stillhouse.watermark._profile import MarkSampling, Profile, SchemeName
from stillhouse.watermark._schemes import SCHEMES, Scheme, make_mark, score_tokens
from stillhouse.watermark._scores import NullLaw, Scores
from stillhouse.watermark._signed import (
    PROFILE_TYPE,
    SignedProfile,
    read_profile,
    write_profile,
)
from stillhouse.watermark._synthid import synthid_bits
from stillhouse.watermark._synthid_prf import synthid_keys

__all__ = [
    "WatermarkKey",
    "create_watermark_key",
    "load_watermark_key",
    "make_key",
    "find_key",
    "key_path",
    "Profile",
    "MarkSampling",
    "SchemeName",
    "SignedProfile",
    "PROFILE_TYPE",
    "read_profile",
    "write_profile",
    "Subkeys",
    "context_hash",
    "context_hashes",
    "token_hashes",
    "token_uniforms",
    "Scheme",
    "SCHEMES",
    "make_mark",
    "score_tokens",
    "Scores",
    "NullLaw",
    "synthid_bits",
    "synthid_keys",
    "LogitsMark",
    "MarkedRow",
    "Watermark",
    "open_watermark",
    "check_tokenizer",
]
