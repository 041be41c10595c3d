"""Marks in what a model generates: keys, profiles, schemes, and the score of each token.

`make_mark` gives what changes logits while a completion is drawn, `score_tokens` what the tokens of
a text say of the mark. A profile holds all that a detector must know but the key. Schemes, the
keyed function and its test vectors: docs/watermark.md. Importing it loads no torch.
"""

from stillhouse.watermark._calibrate import Calibration, FalseAlarms, calibrate, decoy_key
from stillhouse.watermark._detect import Detection, detect, detect_many, locate_marks
from stillhouse.watermark._forecast import Forecast, forecast
from stillhouse.watermark._identify import Candidate, Identification, identify
from stillhouse.watermark._key import (
    WatermarkKey,
    create_watermark_key,
    load_watermark_key,
)
from stillhouse.watermark._locate import Span, locate
from stillhouse.watermark._mark import LogitsMark, MarkedRow
from stillhouse.watermark._marked_scores import drawn_scores, zipf_law
from stillhouse.watermark._ngrams import NgramFilter
from stillhouse.watermark._null_tail import critical_sums, log10_tail
from stillhouse.watermark._open import (
    Watermark,
    check_tokenizer,
    find_key,
    key_path,
    make_key,
    open_watermark,
)
from stillhouse.watermark._pairs import score_pairs
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
from stillhouse.watermark._window_scores import null_law, window_scores
from stillhouse.watermark._windows import Windows, ngram_hashes, windows

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
    "score_pairs",
    "Scores",
    "NullLaw",
    "synthid_bits",
    "synthid_keys",
    "LogitsMark",
    "MarkedRow",
    "Watermark",
    "open_watermark",
    "check_tokenizer",
    # Detection
    "Detection",
    "detect",
    "detect_many",
    "Span",
    "locate",
    "locate_marks",
    "Candidate",
    "Identification",
    "identify",
    "Calibration",
    "FalseAlarms",
    "calibrate",
    "decoy_key",
    "Forecast",
    "forecast",
    # What detection is made of
    "NgramFilter",
    "ngram_hashes",
    "Windows",
    "windows",
    "window_scores",
    "null_law",
    "log10_tail",
    "critical_sums",
    "drawn_scores",
    "zipf_law",
]
