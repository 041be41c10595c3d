"""Memory that the process holds on to though nothing uses it."""

import ctypes
import sys


def give_back_memory() -> None:
    """Hand pages that were freed back to the system, where the C library can.

    Activations of texts of all lengths come and go. glibc keeps what they leave between others, so
    that a process which trains grows to several times what it uses.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # musl has none
        trim(0)
