"""Fewer passes of Python's garbage collector while answers are read.

An answer with log-probabilities is ten thousand objects that hold no cycles: reference counts free
them as soon as it is read. At the usual threshold of 700 the collector would look at each of them
several times in between, which takes longer than all the reading.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS_BETWEEN_PASSES = 50_000  # five such answers; 10,000 save less, 200,000 no more

_lock = threading.Lock()
_num_users = 0
_usual = gc.get_threshold()


@contextmanager
def rare_garbage_passes() -> Iterator[None]:
    """For the whole process, until the last of those that asked for it is done.

    A threshold that is larger already, and a collector that was switched off, stay as they are.
    """
    global _num_users, _usual
    with _lock:
        if not _num_users:
            _usual = gc.get_threshold()
            youngest, *older = _usual
            if youngest:  # 0 switches it off
                gc.set_threshold(max(youngest, _OBJECTS_BETWEEN_PASSES), *older)
        _num_users += 1
    try:
        yield
    finally:
        with _lock:
            _num_users -= 1
            if not _num_users:
                gc.set_threshold(*_usual)
