"""A deployment in service: one version answers, and another takes over without a request lost.

Requests that a version began it also ends. A version that cannot be opened changes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stillhouse.errors import StillhouseError
from stillhouse.serve._ask import Answering, Ask, Engine
from stillhouse.serve._figures import Figure, Report, figures_of, reports_of
from stillhouse.serve._files import FromFiles, LoadedFiles

if TYPE_CHECKING:
    from stillhouse.serve._teacher import TeacherSource

logger = logging.getLogger(__name__)

_LOOK_S = 1.0  # between two looks at the pointer


class _Turn:
    """One version's time in service."""

    def __init__(self, version: str, engine: Engine) -> None:
        self.version = version
        self.engine = engine
        self.num_open = 0
        self.is_over = asyncio.Event()  # set once it is out of service and has ended its requests
        self.is_out = False

    def enter(self) -> None:
        self.num_open += 1

    def leave(self) -> None:
        self.num_open -= 1
        self._look()

    def take_out(self) -> None:
        self.is_out = True
        self._look()

    def _look(self) -> None:
        if self.is_out and not self.num_open:
            self.is_over.set()


class SwitchingEngine:
    """Answers with the version that a deployment's pointer names; use it within one event loop.

    The pointer is looked at every second, and at once after `look_now`.

    Args:
        version: In service, and
        engine: what answers for it.
        current: The version that the pointer names.
        open_version: What answers for a version; called in a thread.
        source: The teacher of all versions, which is closed at the end.
    """

    def __init__(
        self,
        version: str,
        engine: Engine,
        *,
        current: Callable[[], str | None],
        open_version: Callable[[str], Engine],
        source: "TeacherSource | None" = None,
    ) -> None:
        self._turn = _Turn(version, engine)
        self._current = current
        self._open_version = open_version
        self._source = source
        self._refused = ""  # the version that could not be opened, so that it is told once
        self._num_switches = self._num_refused = 0
        self._watching: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    @property
    def name(self) -> str:
        """What the model in service is called."""
        return self._turn.engine.name

    @property
    def serving(self) -> Engine:
        """What answers now; it may be closed at the next await, unless it is held."""
        return self._turn.engine

    @property
    def files(self) -> LoadedFiles | None:
        """Those that the version in service was loaded from."""
        engine = self._turn.engine
        return engine.files if isinstance(engine, FromFiles) else None

    @contextmanager
    def held(self) -> Iterator[Engine]:
        """What answers now, which is not closed before the block ends."""
        self.begin()
        turn = self._turn
        turn.enter()
        try:
            yield turn.engine
        finally:
            turn.leave()

    @property
    def release(self) -> str:
        """The version in service, in full."""
        return self._turn.version

    @property
    def version(self) -> str:
        """The same, as headers have it."""
        return self._turn.version[:12]

    @property
    def num_running(self) -> int:
        """Answers under way of the version in service."""
        return self._turn.engine.num_running

    async def open(self, ask: Ask) -> Answering:
        """Begin to answer with the version in service; see `Engine.open`."""
        self.begin()
        turn = self._turn
        turn.enter()
        try:
            answering = await turn.engine.open(ask)
        except BaseException:
            turn.leave()
            raise
        answering.headers = {"x-stillhouse-version": turn.version[:12], **answering.headers}
        answering.stop = _Leave(turn, answering.stop)
        return answering

    def begin(self) -> None:
        """Look at the pointer from here on."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    def look_now(self) -> None:
        """Look at the pointer at once, and try again what could not be opened."""
        self._refused = ""
        self._wake.set()

    def figures(self) -> list[Figure]:
        """For the metrics."""
        name = "stillhouse_release"
        return [
            Figure(f"{name}_in_service", 1, {"version": self.version}, "gauge"),
            Figure(f"{name}_switches_total", self._num_switches),
            Figure(f"{name}_refused_total", self._num_refused),
            *figures_of(self._turn.engine),
        ]

    def reports(self) -> Mapping[str, Report]:
        """Those of the version in service, and which it is."""
        return {**reports_of(self._turn.engine), "release": self._report}

    async def close(self) -> None:
        """Close what is in service and what still ends; may be called twice."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._turn.engine.close()
        if self._source is not None:
            await self._source.close()

    def _report(self) -> dict[str, Any]:
        return {
            "object": "release",
            "version": self.release,
            "switches": self._num_switches,
            "refused": self._refused or None,
        }

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                wanted = self._current()
            except (StillhouseError, OSError) as err:
                logger.warning("the pointer cannot be read; %s goes on: %s", self.version, err)
                continue
            if wanted is not None and wanted not in (self.release, self._refused):
                await self._switch(wanted)

    async def _switch(self, version: str) -> None:
        try:
            engine = await asyncio.to_thread(self._open_version, version)
        except Exception as err:  # whatever is wrong with it, the one in service is not
            self._refused = version
            self._num_refused += 1
            logger.error(
                "version %s cannot be served; %s goes on: %s", version[:12], self.version, err
            )
            return
        before, self._turn = self._turn, _Turn(version, engine)
        self._num_switches += 1
        logger.warning("version %s is in service, after %s", version[:12], before.version[:12])
        before.take_out()
        task = asyncio.get_running_loop().create_task(_end(before))
        self._ending.add(task)  # the loop alone would forget it
        task.add_done_callback(self._ending.discard)


class _Leave:
    """Ends an answer, and tells its version so, once."""

    def __init__(self, turn: _Turn, stop: Callable[[], None]) -> None:
        self._turn = turn
        self._stop = stop
        self._is_over = False

    def __call__(self) -> None:
        self._stop()
        if not self._is_over:
            self._is_over = True
            self._turn.leave()


async def _end(turn: _Turn) -> None:
    """Let a version end its requests, and close it."""
    try:
        await turn.is_over.wait()
    finally:
        await turn.engine.close()


@contextmanager
def in_service(engine: Engine) -> Iterator[Engine]:
    """What answers now, of an engine that may be a deployment; kept open while the block runs."""
    if not isinstance(engine, SwitchingEngine):
        yield engine
        return
    with engine.held() as serving:
        yield serving
