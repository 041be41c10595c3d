"""The headers that say of each response who gave it, why, and by which version."""

from stillhouse.serve._ask import Engine
from stillhouse.serve._seen import Seen

UNKNOWN_VERSION = "unknown"
"""Of a student that another server runs: nobody says which weights it has."""


def version_of(engine: Engine) -> str:
    """Which student answers, where its engine has a `version`."""
    return str(getattr(engine, "version", UNKNOWN_VERSION))


def watermark_of(engine: Engine) -> str | None:
    """The profile that marks what an engine generates, where it has a `watermark`."""
    mark: str | None = getattr(engine, "watermark", None)
    return mark


def response_headers(seen: Seen, engine: Engine) -> dict[str, str]:
    """What a response to a request tells beside its body.

    Who may not ask is told nothing of the student.
    """
    headers = {"x-request-id": seen.client_id or seen.id}
    if not seen.is_allowed:
        return headers
    told = told_of(seen)
    if "x-stillhouse-version" not in told:
        headers["x-stillhouse-version"] = version_of(engine)
    mark = watermark_of(engine)
    if mark is not None and told["x-stillhouse-route"] == "student":
        headers["x-stillhouse-watermark"] = mark
    return headers | told


def told_of(seen: Seen) -> dict[str, str]:
    """Route and reason, and what the engine said of them."""
    if seen.answering is not None:
        found = {"x-stillhouse-route": "student", "x-stillhouse-reason": "only"}
        return found | seen.told | seen.answering.headers
    reason = "told"
    if seen.refused is not None:
        reason = "refused" if seen.refused.status < 500 else "failed"
    return {"x-stillhouse-route": "server", "x-stillhouse-reason": reason} | seen.told
