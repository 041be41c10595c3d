"""Personal data and secrets taken out of texts: before they are learnt from, or kept in a log."""

from stillhouse.scrubbing._scrub import Scrubbed, ScrubbedRow, scrub, scrub_row, scrub_texts

__all__ = ["scrub", "Scrubbed", "scrub_row", "ScrubbedRow", "scrub_texts"]
