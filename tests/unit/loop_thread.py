"""An event loop in a thread of its own, for servers that tests ask from outside."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines until it is closed."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    @property
    def is_open(self) -> bool:
        return self._thread.is_alive()

    def open(self) -> None:
        self._thread.start()

    def run(self, work: "Coroutine[Any, Any, T]") -> T:
        """What a coroutine gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        """Let transports take their last steps, and end."""
        self.run(asyncio.sleep(0.01))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def tell(self, function: "Callable[[], None]") -> None:
        """Have something called in the loop, and wait for nothing."""
        self._loop.call_soon_threadsafe(function)
