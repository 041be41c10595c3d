"""Numbers that carry their own proof: payment cards and bank accounts."""

import re

_DOUBLED = bytes.maketrans(
    b"0123456789", bytes(48 + value for value in (0, 2, 4, 6, 8, 1, 3, 5, 7, 9))
)

# Leading digits and lengths of the card schemes (ISO/IEC 7812 issuer ranges).
_CARD_LENGTHS = tuple(
    (re.compile(issuer), lengths)
    for issuer, lengths in (
        (rb"4", (13, 16, 19)),  # Visa
        (rb"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
        (rb"3[47]", (15,)),  # American Express
        (rb"3(?:0[0-5]|[689])", (14,)),  # Diners Club
        (rb"35(?:2[89]|[3-8])", (16, 17, 18, 19)),  # JCB
        (rb"6(?:011|4[4-9]|5)", (16, 17, 18, 19)),  # Discover
        (rb"62", (16, 17, 18, 19)),  # UnionPay
        (rb"50|5[6-8]|6", (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    )
)

# Length of a country's IBAN (the SWIFT IBAN registry).
# fmt: off
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
    "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}
# fmt: on


def luhn_is_valid(digits: bytes) -> bool:
    """Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1)."""
    backwards = digits[::-1]
    # The sums run in C over the characters' codes; 48 is that of "0".
    doubled = backwards[1::2].translate(_DOUBLED)
    return (sum(backwards[::2]) + sum(doubled) - 48 * len(digits)) % 10 == 0


def iban_is_valid(iban: str) -> bool:
    """Whether an IBAN without spaces has its country's length and check digits (ISO 13616)."""
    if len(iban) != _IBAN_LENGTHS.get(iban[:2]):
        return False
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def card_is_valid(digits: bytes) -> bool:
    """Whether these are an issuer's leading digits, a length it uses, and the check digit."""
    if not luhn_is_valid(digits):
        return False
    lengths = next((lengths for issuer, lengths in _CARD_LENGTHS if issuer.match(digits)), ())
    return len(digits) in lengths


def iban_length(country: str) -> int:
    """How long an account number of `country` is, 0 where it has none."""
    return _IBAN_LENGTHS.get(country, 0)
