"""Identifiers and times that are the same whenever the graph is."""

import re
import uuid
from datetime import UTC, datetime

from stillhouse.documents._facts import Fact, derived

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://stillhouse/documents")
_NOT_IN_SLUGS = re.compile(r"[^a-z0-9.]+")


def uuid_of(what: str, *facts: Fact) -> Fact:
    """A version 5 UUID of the values of `facts`, in URN form."""
    name = "\x00".join([what, *(str(fact.value) for fact in facts)])
    value = f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}"
    return derived(value, "version 5 UUID of the cited values", *facts)


def whole_second(time: Fact) -> Fact:
    """A time as RFC 3339 in UTC without fractions, as SPDX wants it."""
    if not isinstance(time.value, str):
        return time
    moment = datetime.fromisoformat(time.value).astimezone(UTC)
    return derived(moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "in whole seconds", time)


def day(time: Fact) -> Fact:
    """The day of a time."""
    if not isinstance(time.value, str):
        return time
    return derived(time.value[:10], "the day of it", time)


def slug(name: Fact) -> Fact:
    """A name in small ASCII letters, digits, dots and hyphens; None where nothing is left."""
    text = str(name.value or "").lower()
    value = _NOT_IN_SLUGS.sub("-", text).strip("-.")
    return derived(value or None, "the name in letters that are safe in addresses", name)
