"""What personal data and secrets look like: patterns, and the checksums that confirm them.

Every pattern is linear in the length of the text, whatever the text is. Repetitions are bounded
or possessive, and one without a bound starts only where its own run of characters starts, so that
no character is read from more than a fixed number of starts. The order is the order of precedence:
what an earlier detector took, a later one does not see.
"""

import base64
import binascii
import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from stillhouse.scrubbing._checksums import card_is_valid, iban_is_valid, iban_length

Span = tuple[int, int]
_Check = Callable[[re.Match[str]], Span | None]


def _whole(match: re.Match[str]) -> Span | None:
    return match.span()


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of thing that is taken out.

    Attributes:
        kind: Its name in the placeholder and in the counts.
        pattern: What a candidate looks like.
        check: The part of a candidate to take out, or None where it is something else.
        triggers: Every match holds one of these, whatever its case; none where it needs digits.
    """

    kind: str
    pattern: re.Pattern[str]
    check: _Check = _whole
    triggers: tuple[str, ...] = ()

    def spans(self, text: str) -> Iterator[Span]:
        """Where `text` holds one, from left to right and apart from one another."""
        position = 0
        while match := self.pattern.search(text, position):
            span = self.check(match)
            if span is None:
                position = match.start() + 1
            else:
                yield span
                position = span[1]


def _card(match: re.Match[str]) -> Span | None:
    digits = match[0].encode("ascii").translate(None, b" -")
    return match.span() if card_is_valid(digits) else None


def _iban(match: re.Match[str]) -> Span | None:
    length = iban_length(match[0][:2])
    text, start = match.string, match.start()
    is_spaced = text[start + 4 : start + 5] == " "
    end = start + length + ((length - 1) // 4 if is_spaced else 0)
    written = text[start:end]
    iban = written.replace(" ", "") if is_spaced else written
    if text[end : end + 1].isalnum() or not (iban.isascii() and iban.isalnum() and iban.isupper()):
        return None
    return (start, end) if iban_is_valid(iban) else None


def _phone(match: re.Match[str]) -> Span | None:
    # A sum such as "+12345678" has no separators; a whole number has ten digits or more.
    return match.span() if match[0][1:].isdigit() is False or len(match[0]) > 10 else None


def _address(match: re.Match[str]) -> Span | None:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return None
    # Private, loopback and documentation ranges name nobody.
    return match.span() if address.is_global else None


def _email(match: re.Match[str]) -> Span | None:
    start, at = match.start(), match.string.index("@", match.start())
    if match.string[start - 1 : start] == "\\" and match.string[start] in "nrt":
        start += 1  # JSON inside of a string: "\n@decorator" has an escape before it
    while match.string[start] == ".":
        start += 1
    # git@host:path names a server.
    if start >= at or match.string[start:at] == "git":
        return None
    return start, match.end()


def _jwt(match: re.Match[str]) -> Span | None:
    header = match["header"][:2_048]
    try:
        decoded = orjson.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, orjson.JSONDecodeError):
        return None
    return match.span() if isinstance(decoded, dict) and "alg" in decoded else None


def _vendor_key(match: re.Match[str]) -> Span | None:
    # "sk-learn-contributors-guide" has the prefix, and no digit.
    has_digit = any(char.isdigit() for char in match[0])
    return match.span() if has_digit else None


def _named_secret(match: re.Match[str]) -> Span | None:
    value = match["value"].rstrip(".:!?*")
    is_password = match["name"].lower().startswith(("pass", "pwd"))
    if len(value) < _SECRET_CHARS or "://" in value:
        return None
    if not (_mixes_letters_and_digits(value) if is_password else _is_random(value)):
        return None
    start = match.start("value")
    return start, start + len(value)


def _bearer(match: re.Match[str]) -> Span | None:
    return match.span("value") if _is_random(match["value"]) else None


def _is_random(value: str) -> bool:
    """Whether no word or date could stand there: a long piece of letters and digits in disorder."""
    longest = max(_PIECES.findall(value), key=len, default="")
    return _mixes_letters_and_digits(longest) and _entropy_bits(longest) >= _RANDOM_BITS


def _mixes_letters_and_digits(text: str) -> bool:
    return bool(_DIGIT.search(text) and _LETTER.search(text))


def _entropy_bits(text: str) -> float:
    """Shannon entropy of the characters, in bits per character."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


# Not tuned beyond "no false alarm in 40 MB of prose, questions and code".
_RANDOM_BITS = 3.0
_SECRET_CHARS = 8

_DIGIT = re.compile("[0-9]")
_LETTER = re.compile("[A-Za-z]")
_PIECES = re.compile("[A-Za-z0-9+/]{16,}")

_TOKEN_START = r"(?<![A-Za-z0-9_-])"
_PEM_NAME = r"[A-Z0-9 ]{0,30}PRIVATE KEY-----"
# Ends with its own END line; without one, only lines that can be nothing but a key's are taken.
_PEM = (
    rf"-----BEGIN {_PEM_NAME}"
    rf"(?:(?:[A-Za-z0-9+/=\s:,.\\]|-(?!-))*+-----END {_PEM_NAME}"
    r"|(?:(?:\s|\\[nr]){1,4}[A-Za-z0-9+/=]{40,}+)+)"
)
# A pattern that begins with a set of characters is searched for much faster than one that begins
# with a look behind, so those follow the first character, and look past it.
_CARD = (
    r"[2-6](?<![\w.]\d)(?:\d{12,18}|\d{3}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{3}([ -])\d{6}\2\d{4,5})"
    r"(?!\w|\.\d)"
)
_IBAN = (
    r"[A-Z](?<![A-Za-z0-9][A-Z])[A-Z]\d{2}"
    r"(?: [A-Z0-9]{4} [A-Z0-9]{4} [A-Z0-9]{3}|[A-Z0-9]{11})"
)
_SSN = r"[0-8](?<![\w-]\d)(?!(?<=0)00|(?<=6)66)\d{2}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"
_NANP = (
    r"[2-9(](?<![\w.][2-9(])(?<![02-9A-Za-z]-[2-9(])"
    r"(?:(?<=\()[2-9]\d{2}\) ?|(?<!\()\d{2}[-. ])[2-9]\d{2}[-.]\d{4}(?![\w-])"
)
_IPV4 = r"\d(?<![\w.]\d)(?<!EC \d)\d{0,2}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\w|\.\d)"
_IPV6 = r"[23](?<![\w:.][23])[0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"
_VALUE = r"[^\s\"'`,;<>{}()\[\]=:&]"
_NAMED = (
    r"(?P<name>(?i:key|token|secret|password|passwd|passphrase|pwd))s?[\"'`]?"
    rf"\s{{0,3}}(?::=|=>|[:=])\s{{0,3}}[\"'`]?(?P<value>{_VALUE}{{3,512}}+(?::{_VALUE}{{3,512}}+)?={{0,2}})"
)

DETECTORS: tuple[Detector, ...] = (
    Detector("PRIVATE_KEY", re.compile(_PEM), triggers=("private key-----",)),
    Detector(
        "JWT",
        re.compile(
            _TOKEN_START + r"(?P<header>eyJ[A-Za-z0-9_-]{8,}+)\.[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]*+"
        ),
        _jwt,
        triggers=("eyj",),
    ),
    Detector(
        "ANTHROPIC_KEY",
        re.compile(_TOKEN_START + r"sk-ant-[A-Za-z0-9_-]{20,}+"),
        _vendor_key,
        triggers=("sk-ant-",),
    ),
    Detector(
        "OPENAI_KEY",
        re.compile(_TOKEN_START + r"sk-[A-Za-z0-9_-]{20,}+"),
        _vendor_key,
        triggers=("sk-",),
    ),
    Detector(
        "GOOGLE_KEY",
        re.compile(_TOKEN_START + r"(?:AIza[A-Za-z0-9_-]{35,}+|ya29\.[A-Za-z0-9_-]{20,}+)"),
        triggers=("aiza", "ya29."),
    ),
    Detector(
        "AWS_KEY",
        re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
        triggers=("akia", "asia"),
    ),
    Detector(
        "GITHUB_TOKEN",
        re.compile(
            r"(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{36,}+|github_pat_[A-Za-z0-9_]{22,}+)"
        ),
        triggers=("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    Detector(
        "SLACK_TOKEN",
        re.compile(
            _TOKEN_START + r"(?:xox[abeoprs]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{20,}+)"
            r"|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}+"
        ),
        triggers=("xox", "xapp-", "hooks.slack.com"),
    ),
    Detector(
        "STRIPE_KEY",
        re.compile(
            r"(?<![A-Za-z0-9_])(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,}+|whsec_[A-Za-z0-9]{24,}+)"
        ),
        triggers=("k_live_", "k_test_", "whsec_"),
    ),
    Detector(
        "HF_TOKEN",
        re.compile(r"(?<![A-Za-z0-9_])hf_[A-Za-z]{30,}+(?![0-9_])"),
        triggers=("hf_",),
    ),
    Detector(
        "URL_CREDENTIALS",
        re.compile(r"(?<=://)[^\s/@:\[\]]{0,256}:[^\s/@\[\]]{1,256}(?=@)"),
        triggers=("://",),
    ),
    Detector(
        "SECRET",
        re.compile(r"(?i:\b(?:bearer|basic))[ ]{1,3}(?P<value>[A-Za-z0-9._~+/=-]{16,}+)"),
        _bearer,
        triggers=("bearer", "basic"),
    ),
    Detector(
        "SECRET",
        re.compile(_NAMED),
        _named_secret,
        triggers=("key", "token", "secret", "passw", "passphrase", "pwd"),
    ),
    Detector(
        "EMAIL",
        re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}+@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"),
        _email,
        triggers=("@",),
    ),
    Detector("IBAN", re.compile(_IBAN), _iban),
    Detector("CARD", re.compile(_CARD, re.ASCII), _card),
    Detector("SSN", re.compile(_SSN, re.ASCII), triggers=("-",)),
    Detector(
        "PHONE",
        re.compile(r"(?<![\w+])\+[1-9](?:[ ().-]{0,2}\d){7,14}(?!\d)", re.ASCII),
        _phone,
        triggers=("+",),
    ),
    Detector("PHONE", re.compile(_NANP, re.ASCII), triggers=("-", ".")),
    Detector("IP", re.compile(_IPV4, re.ASCII), _address, triggers=(".",)),
    Detector("IP", re.compile(_IPV6, re.ASCII), _address, triggers=(":",)),
)
NEED_DIGITS = frozenset({"IBAN", "CARD", "SSN", "PHONE", "IP"})
"""Kinds that hold digits: a text without any need not be searched for them."""
