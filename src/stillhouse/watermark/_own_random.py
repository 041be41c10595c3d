"""Randomness of a completion's own, from its seed: what a mark must not take from the key."""

from stillhouse.watermark._prf import mix_one

WHICH_KEY = 0x5F1E4B7A93D2C608
DRAWN_TOKEN = 0x2B7C9D14E6A03F85
"""Any constants: they part one use from another."""


def own_uniform(seed: int, use: int, place: int) -> float:
    """A number in [0, 1) for one token of a completion.

    Args:
        seed: Of the completion; any integer.
        use: `WHICH_KEY` or `DRAWN_TOKEN`.
        place: Of the token in the completion.
    """
    return mix_one(mix_one((seed ^ use) % 2**64) ^ (place + 1)) / 2.0**64
