"""Marks in what a deployment generates: the profile that it is started with, and what marks.

A scheme changes the logits that tokens are drawn from. Which schemes there are stands in `SCHEMES`;
this version brings none. Importing it loads no torch.
"""

from stillhouse.watermark._mark import LogitsMark, MarkedRow
from stillhouse.watermark._profile import (
    SCHEMES,
    Scheme,
    Watermark,
    WatermarkProfile,
    open_watermark,
)

__all__ = [
    "LogitsMark",
    "MarkedRow",
    "SCHEMES",
    "Scheme",
    "Watermark",
    "WatermarkProfile",
    "open_watermark",
]
