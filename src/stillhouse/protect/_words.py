"""Numbers of evidence in words."""

import math


def p_text(log10_p: float) -> str:
    """A p-value for people: `0.042`, `3e-17`, `1`."""
    if log10_p >= -3:
        return f"{10**log10_p:.2g}"
    exponent = math.floor(log10_p)
    digit = round(10 ** (log10_p - exponent))
    if digit == 10:
        digit, exponent = 1, exponent + 1
    return f"{digit}e{exponent}"


def share_text(share: float | None) -> str:
    """A share, or that there is none to tell."""
    return "not known" if share is None else f"{share:.1%}"
