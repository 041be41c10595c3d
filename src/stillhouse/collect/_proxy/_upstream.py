"""Where a request goes, with whose key, and whose words it is in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from multidict import CIMultiDict
from yarl import URL

from stillhouse.errors import ConfigError
from stillhouse.teachers._dialects import DIALECTS
from stillhouse.teachers._providers import PROVIDERS, Provider, api_key_of, base_url_of, is_loopback

NO_KEY = "stillhouse"
"""What an SDK that insists on a key may be given: it counts as none."""

_KEY_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
# Of one connection, not of the message (RFC 9110, 7.6.1); and those that the client sets itself.
_HOP_BY_HOP = frozenset(
    (
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "te", "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip
_OURS = frozenset(("host", "content-length", "expect"))
_PATHS = (
    (re.compile(r"(?:^|/)chat/completions$"), "openai_chat"),
    (re.compile(r"(?:^|/v1)/responses$"), "openai_responses"),
    (re.compile(r"/v1/messages$"), "anthropic"),
)
_GEMINI = re.compile(r"/(?:models/)?((?:tunedModels/)?[^/:]+):(?:generate|streamGenerate)Content$")
_DOTS = frozenset((".", ".."))
_EVERY_ADDRESS = ("0.0.0.0", "::")
_LEAST_SECRET_CHARS = 16  # shorter ones are placeholders such as "EMPTY", and words of a text


@dataclass(frozen=True, slots=True)
class Route:
    """Where one request goes.

    Attributes:
        url: The provider's.
        dialect: Whose words the body is in, None for what is not recorded.
        model: Who is asked, where the path says it.
    """

    url: URL
    dialect: str | None
    model: str | None = None


class RefusedError(Exception):
    """A request that is not passed on.

    Attributes:
        status: The HTTP status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Upstream:
    """A provider as the proxy reaches it.

    Args:
        name: The provider.
        environ: Where its key and address come from.
        allows_remote: Whether the proxy's key is lent to other machines too.

    Raises:
        ConfigError: there is no such provider, or its address or key is wrong.
    """

    def __init__(self, name: str, environ: Mapping[str, str], *, allows_remote: bool) -> None:
        self.provider = _provider(name)
        self.base_url = base_url_of(self.provider, environ)
        self._allows_remote = allows_remote
        address = urlsplit(self.base_url)
        self._origin = f"{address.scheme}://{address.netloc}"
        self._base_path = address.path
        self._key = _key(self.provider, environ)
        self._key_headers = {
            header: value
            for header, value in DIALECTS[self.provider.dialect].headers(self._key).items()
            if header.lower() in _KEY_HEADERS
        }

    @property
    def has_key(self) -> bool:
        """Whether a caller may come without a key."""
        return self._key is not None

    @property
    def base_path(self) -> str:
        """What follows the proxy's address in the base URL of an application."""
        return self._base_path

    def is_at(self, host: str, port: int) -> bool:
        """Whether the provider is who listens at `host`, under whichever of its names."""
        address = URL(self.base_url)
        theirs = address.host or ""
        is_here = is_loopback(theirs) and (is_loopback(host) or host in _EVERY_ADDRESS)
        return address.port == port and (is_here or theirs == host)

    def route(self, target: str) -> Route:
        """Where a request goes whose first line names `target`.

        The base URL's own path, or the `/v1` at its end, may be there already: applications call
        `/v1/chat/completions`, `/chat/completions` or `/openai/v1/chat/completions`.

        Raises:
            RefusedError: it would leave the base URL, or is no path.
        """
        path, question, query = target.partition("?")
        if not path.startswith("/"):
            raise RefusedError(400, "the proxy passes on paths, not whole URLs; set it as base URL")
        if any(unquote(part) in _DOTS for part in path.split("/")):
            raise RefusedError(400, "the path leaves the provider's base URL")
        base = self._base_path
        tail = base[base.rindex("/") :] if base else ""
        for beginning in (base, tail):
            if beginning and (path == beginning or path.startswith(beginning + "/")):
                path = path[len(beginning) :]
                break
        dialect, model = _dialect_of(base + path)
        url = URL(f"{self._origin}{base}{path}{question}{query}", encoded=True)
        return Route(url, dialect, model)

    def headers(self, given: Mapping[str, str], query: Mapping[str, str]) -> CIMultiDict[str]:
        """The headers to send: the caller's, with our key where the caller has none.

        Raises:
            RefusedError: a web page, or another machine, would use our key.
        """
        sent = passed_on(given, without=_OURS)
        own = [name for name in _KEY_HEADERS if name in sent]
        if any(_is_key(sent[name]) for name in own) or "key" in query or not self._key:
            return sent
        if not (self._allows_remote or _is_from_here(given)):
            raise RefusedError(
                403,
                "the proxy lends its key to programs of this machine only, not to web pages: send "
                "a key of your own, or start the proxy with --allow-remote",
            )
        for name in own:
            del sent[name]
        sent.update(self._key_headers)
        return sent

    def secrets(self, sent: Mapping[str, str], query: Mapping[str, str]) -> tuple[bytes, ...]:
        """The keys of a request, and ours, which must be in nothing that is recorded."""
        keys = [sent[name] for name in _KEY_HEADERS if name in sent]
        keys += [query["key"]] if "key" in query else []
        keys += [self._key] if self._key else []
        bare = {key.rpartition(" ")[2].encode() for key in keys}
        return tuple(key for key in bare if len(key) >= _LEAST_SECRET_CHARS)


def passed_on(headers: Mapping[str, str], *, without: frozenset[str]) -> CIMultiDict[str]:
    """Headers as they came, without those of the connection and those named in `without`."""
    # There may be several such lines, each with names of its own.
    lines = [value for name, value in headers.items() if name.lower() == "connection"]
    named = {name.strip() for name in ",".join(lines).lower().split(",")}
    left_out = _HOP_BY_HOP | without | named
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in left_out
    )


def _provider(name: str) -> Provider:
    if name not in PROVIDERS:
        raise ConfigError(f"--to {name!r} is no provider. Give one of {', '.join(PROVIDERS)}.")
    return PROVIDERS[name]


def _key(provider: Provider, environ: Mapping[str, str]) -> str | None:
    """The provider's key; none is no error, as callers may bring their own."""
    variable = provider.key_variable
    if variable is None or not environ.get(variable, "").strip():
        return None
    return api_key_of(provider, environ)


def _is_key(value: str) -> bool:
    return value.rpartition(" ")[2] not in ("", NO_KEY)


def _is_from_here(headers: Mapping[str, str]) -> bool:
    """Whether no browser was brought to send this by a page from somewhere else.

    A page may post to any address, and may have its own name resolve to this machine: the first
    shows in `Origin`, the second in `Host`.
    """
    addresses = [f"//{headers.get('host', '')}"]
    if "origin" in headers:
        addresses.append(headers["origin"])
    try:
        hosts = [urlsplit(address).hostname for address in addresses]
    except ValueError:  # brackets of an address that do not close
        return False
    return all(host is not None and is_loopback(host) for host in hosts)


def _dialect_of(path: str) -> tuple[str | None, str | None]:
    for pattern, dialect in _PATHS:
        if pattern.search(path):
            return dialect, None
    found = _GEMINI.search(path)
    return ("gemini", unquote(found[1])) if found else (None, None)
