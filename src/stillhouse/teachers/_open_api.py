"""From the spec of an API teacher to the teacher: `provider:model`, or the URL of an endpoint."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from stillhouse.errors import ConfigError
from stillhouse.records import Usage
from stillhouse.teachers._access import Access
from stillhouse.teachers._api import ApiTeacher
from stillhouse.teachers._base import Allowance, TeacherInfo
from stillhouse.teachers._batch._client import WIRES, BatchClient
from stillhouse.teachers._caller import Caller
from stillhouse.teachers._costs import FREE, Price, Tier, cost_usd, worst_cost_usd
from stillhouse.teachers._dialects import DECISIONS, DIALECTS, Dialect, Quirks
from stillhouse.teachers._endpoint import CostOf, Endpoint, WorstCostOf
from stillhouse.teachers._gate import gate_for
from stillhouse.teachers._options import Options, split_options
from stillhouse.teachers._prices import price_of
from stillhouse.teachers._providers import PROVIDERS, api_key_of, base_url_of, is_loopback
from stillhouse.teachers._transport import Timeouts

logger = logging.getLogger(__name__)

KEY_VARIABLE = "STILLHOUSE_API_KEY"
"""Key of an endpoint that is given by its URL."""

_URL_FORM = "http(s)://host[:port]/v1#model"
_URL_CONCURRENCY = 16  # of an endpoint that nothing is known about; not tuned
_APIS = {"chat": "openai_chat", "responses": "openai_responses"}


class ProviderOptions(Options):
    """Options of `provider:model`."""

    api: Literal["chat", "responses"] | None = None
    """Which of OpenAI's two protocols is spoken; the provider's usual one when left out."""


def open_provider_teacher(name: str, rest: str, access: Access) -> ApiTeacher:
    """The teacher of `name:model[?api=responses]`; nothing is sent before the first request.

    Raises:
        ConfigError: no model is named, an option is wrong, or the key is not in the environment.
    """
    provider = PROVIDERS[name]
    model, options = split_options(rest, ProviderOptions, scheme=name)
    if not model:
        raise ConfigError(f"Teacher '{name}:' names no model. Give {name}:MODEL.")
    dialect = provider.dialect if options.api is None else _APIS[options.api]
    if dialect not in provider.dialects:
        raise ConfigError(
            f"Teacher '{name}:' does not speak api={options.api}; it speaks "
            f"{', '.join(provider.dialects)}. Leave the option out."
        )
    endpoint = Endpoint(
        provider=name,
        base_url=base_url_of(provider, os.environ),
        model=model,
        dialect=DIALECTS[dialect],
        api_key=api_key_of(provider, os.environ),
        key_variable=provider.key_variable,
        quirks=provider.quirks,
        is_streamed=access.is_streamed,
        timeouts=Timeouts(total_s=access.timeout_s),
        deadline_s=access.deadline_s,
    )
    info = TeacherInfo(
        id=f"{name}:{model}",
        provider=name,
        max_top_logprobs=provider.quirks.max_top_logprobs,
    )
    is_free = provider.key_variable is None  # a server of the user's own
    return api_teacher(endpoint, info, access, concurrency=provider.concurrency, is_free=is_free)


def open_url_teacher(spec: str, access: Access) -> ApiTeacher:
    """The teacher of `http(s)://host[:port]/v1#model`, with the key in `STILLHOUSE_API_KEY`.

    Nothing is sent before the first request.

    Raises:
        ConfigError: the URL has another form, or the key cannot be a header.
    """
    endpoint = _endpoint_at(spec, DIALECTS["openai_chat"], access, form=_URL_FORM)
    info = TeacherInfo(
        id=f"http:{endpoint.model}@{_place_of(endpoint)}",
        provider="http",
        max_top_logprobs=Quirks().max_top_logprobs,
    )
    return api_teacher(endpoint, info, access, concurrency=_URL_CONCURRENCY, is_free=False)


def open_decisions_teacher(url: str, access: Access) -> ApiTeacher:
    """The teacher of `decisions:http(s)://host[:port]/v1#model`, its key in `STILLHOUSE_API_KEY`.

    It chooses among the labels of each prompt, and tells the probability of each. Nothing is sent
    before the first request, and an answer always comes in one piece.

    Raises:
        ConfigError: the URL has another form, or the key cannot be a header.
    """
    access = replace(access, is_streamed=False)
    endpoint = _endpoint_at(url, DECISIONS, access, form=f"decisions:{_URL_FORM}")
    info = TeacherInfo(
        id=f"decisions:{endpoint.model}@{_place_of(endpoint)}",
        provider="decisions",
        reads_labels=True,
        needs_labels=True,
    )
    return api_teacher(endpoint, info, access, concurrency=_URL_CONCURRENCY, is_free=False)


def _endpoint_at(spec: str, dialect: Dialect, access: Access, *, form: str) -> Endpoint:
    """An endpoint of which nothing is known but its URL."""
    url = urlsplit(spec)
    base_url = _checked_base_url(spec, url, form)
    key = _url_key(os.environ)
    host = url.hostname or ""
    if key and url.scheme == "http" and not is_loopback(host):
        logger.warning("The key in %s goes to %s unencrypted; use https.", KEY_VARIABLE, host)
    return Endpoint(
        provider=host,
        base_url=base_url,
        model=url.fragment,
        dialect=dialect,
        api_key=key,
        key_variable=KEY_VARIABLE,
        is_streamed=access.is_streamed,
        timeouts=Timeouts(total_s=access.timeout_s),
        deadline_s=access.deadline_s,
    )


def _place_of(endpoint: Endpoint) -> str:
    """The host as ids have it: no port, and one name for this machine."""
    return "localhost" if is_loopback(endpoint.provider) else endpoint.provider


def api_teacher(
    endpoint: Endpoint, info: TeacherInfo, access: Access, *, concurrency: int, is_free: bool
) -> ApiTeacher:
    """A teacher at `endpoint`, behind a gate of its own unless `access` has one.

    Args:
        concurrency: Where `access` gives none.
        is_free: Whether calls cost nothing: a server of the user's own.
    """
    price = FREE if is_free else price_of(endpoint.provider, endpoint.model, access.prices)
    allowance = Allowance(
        price=price,
        concurrency=-(-(access.concurrency or concurrency) // access.num_sharing),
        requests_per_minute=access.requests_per_minute,
        tokens_per_minute=access.tokens_per_minute,
    )
    cost_of, worst_cost_of = _costs(price, "standard")
    caller = Caller(
        endpoint,
        access.gate_of(info.id) if access.gate_of is not None else gate_for(allowance),
        cost_of=cost_of,
        worst_cost_of=worst_cost_of,
    )
    batches = None
    if info.provider in WIRES:
        cost_of, worst_cost_of = _costs(price, "batch")
        batches = BatchClient(
            endpoint,
            WIRES[info.provider],
            cost_of=cost_of,
            worst_cost_of=worst_cost_of,
        )
    return ApiTeacher(caller, info, allowance=allowance, batches=batches)


def _costs(price: Price | None, tier: Tier) -> tuple[CostOf, WorstCostOf]:
    """What a call of a tier costs, and at most; None where no price is known."""

    def cost_of(usage: Usage) -> float | None:
        return None if price is None else cost_usd(price, usage, tier)

    def worst_cost_of(prompt_tokens: int, max_tokens: int) -> float | None:
        if price is None:
            return None
        return worst_cost_usd(price, prompt_tokens=prompt_tokens, max_tokens=max_tokens, tier=tier)

    return cost_of, worst_cost_of


def _checked_base_url(spec: str, url: SplitResult, form: str) -> str:
    form = f"Give {form}."
    if url.scheme not in ("http", "https"):
        raise ConfigError(f"Teacher {spec!r} is no address of a server. {form}")
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


def _url_key(environ: Mapping[str, str]) -> str | None:
    key = environ.get(KEY_VARIABLE, "").strip()
    if not key:
        return None
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"{KEY_VARIABLE} holds characters that no HTTP header can carry. Copy the key again."
        )
    return key
