"""One event loop on a thread of its own, shared by every API teacher that is open.

One for all: their calls wait for the network, and one thread can wait for all of them.
"""

import asyncio
import sys
import threading

_lock = threading.Lock()
_shared: "tuple[asyncio.AbstractEventLoop, threading.Thread] | None" = None
_num_users = 0


def enter_loop() -> asyncio.AbstractEventLoop:
    """The shared loop, started for its first user; give it back with `leave_loop`."""
    global _shared, _num_users
    with _lock:
        if _shared is None:
            loop = _new_loop()
            # A daemon: a teacher that nobody closed must not keep the process alive.
            thread = threading.Thread(target=loop.run_forever, name="stillhouse-api", daemon=True)
            thread.start()
            _shared = loop, thread
        _num_users += 1
        return _shared[0]


def leave_loop() -> None:
    """Give the loop back; it ends with its last user."""
    global _shared, _num_users
    with _lock:
        _num_users -= 1
        if _num_users or _shared is None:
            return
        (loop, thread), _shared = _shared, None
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """One of uvloop, which saves a tenth of the time a call costs; Windows has none."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
