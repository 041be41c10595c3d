"""A model behind an OpenAI-compatible chat endpoint."""

import asyncio
import ipaddress
import logging
import os
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from urllib.parse import SplitResult, urlsplit

from stillhouse.errors import ConfigError, TeacherError
from stillhouse.records import Completion
from stillhouse.teachers._base import Pull, Teacher, TeacherInfo
from stillhouse.teachers._chat_client import KEY_VARIABLE, ChatClient, ChatEndpoint
from stillhouse.teachers._wire import MAX_TOP_LOGPROBS

logger = logging.getLogger(__name__)


class HttpTeacher(Teacher):
    """Keeps up to `endpoint.concurrency` requests under way on an event loop of its own thread.

    The loop does not run on the caller's thread, so a notebook's own loop is no obstacle and
    answers keep arriving while the caller stores the last ones; `pull` is called by the caller.
    """

    def __init__(self, endpoint: ChatEndpoint, info: TeacherInfo) -> None:
        self._info = info
        self._client = ChatClient(endpoint)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def info(self) -> TeacherInfo:
        """What answers."""
        return self._info

    def stream(self, pull: Pull) -> Iterator[list[Completion]]:
        """Answer everything that `pull` hands out, in groups that arrived together.

        When no further request can succeed, those under way are waited for before the error is
        raised: their answers may be paid for.
        """
        loop = self._running_loop()
        arrived: queue.SimpleQueue[Future[Completion]] = queue.SimpleQueue()
        under_way: set[Future[Completion]] = set()
        fatal: TeacherError | None = None
        may_pull = True
        try:
            while True:
                room = self._client.endpoint.concurrency - len(under_way)
                requests = pull(room) if may_pull and room > 0 else []
                may_pull = may_pull and (bool(requests) or room <= 0)
                for request in requests:
                    call = asyncio.run_coroutine_threadsafe(self._client.answer(request), loop)
                    under_way.add(call)
                    call.add_done_callback(arrived.put)
                if not under_way:
                    break
                done = _drain(arrived)
                under_way.difference_update(done)
                completions, error = _results(done)
                if error is not None:
                    fatal, may_pull = fatal or error, False
                if completions:
                    yield completions
        finally:
            for call in under_way:
                call.cancel()
        if fatal is not None:
            raise fatal

    def close(self) -> None:
        """Drop what is under way, close the connections and end the thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        asyncio.run_coroutine_threadsafe(_wind_up(self._client), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon: a teacher that nobody closed must not keep the process alive.
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="stillhouse-http", daemon=True
            )
            self._thread.start()
        return self._loop


def open_http_teacher(spec: str) -> HttpTeacher:
    """The teacher of `http(s)://host[:port]/v1#model`, with the key in `STILLHOUSE_API_KEY`.

    Nothing is sent before the first request.

    Raises:
        ConfigError: the URL has another form, or the key cannot be a header.
    """
    url = urlsplit(spec)
    base_url = _checked_base_url(spec, url)
    key = _api_key()
    host = url.hostname or ""
    if key and url.scheme == "http" and not _is_loopback(host):
        logger.warning("The key in %s goes to %s unencrypted; use https.", KEY_VARIABLE, host)
    endpoint = ChatEndpoint(base_url=base_url, model=url.fragment, api_key=key)
    info = TeacherInfo(
        id=f"http:{url.fragment}@{'localhost' if _is_loopback(host) else host}",
        provider="http",
        max_top_logprobs=MAX_TOP_LOGPROBS,
    )
    return HttpTeacher(endpoint, info)


def _checked_base_url(spec: str, url: SplitResult) -> str:
    form = "Give http(s)://host[:port]/v1#model."
    if url.username is not None or url.password is not None:
        raise ConfigError(f"The teacher's URL holds a user or password; set {KEY_VARIABLE}. {form}")
    if url.query:
        raise ConfigError(f"Teacher {spec!r}: a query (?...) is not supported. {form}")
    if not url.fragment:
        raise ConfigError(f"Teacher {spec!r} names no model. {form}")
    try:
        port = url.port
    except ValueError as err:
        raise ConfigError(
            f"Teacher {spec!r}: the port is not a number below 65536. {form}"
        ) from err
    if not url.hostname or port == 0:
        raise ConfigError(f"Teacher {spec!r} names no host or a port of 0. {form}")
    return f"{url.scheme}://{url.netloc}{url.path}".rstrip("/")


def _api_key() -> str | None:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        return None
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"{KEY_VARIABLE} holds characters that no HTTP header can carry. Copy the key again."
        )
    return key


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _drain(arrived: "queue.SimpleQueue[Future[Completion]]") -> list[Future[Completion]]:
    """At least one call that is done, and all others that are too."""
    done = [arrived.get()]
    while not arrived.empty():
        done.append(arrived.get())
    return done


def _results(done: list[Future[Completion]]) -> tuple[list[Completion], TeacherError | None]:
    completions: list[Completion] = []
    fatal: TeacherError | None = None
    for call in done:
        try:
            completions.append(call.result())
        except TeacherError as err:
            fatal = fatal or err
    return completions, fatal


async def _wind_up(client: ChatClient) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
