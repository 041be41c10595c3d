"""From a teacher's spec, one string, to the teacher."""

from collections.abc import Callable
from difflib import get_close_matches

from stillhouse.errors import ConfigError
from stillhouse.teachers._base import Teacher

_FORMS = "fake:, replay:DIR, local:[PATH], gguf:[PATH], http(s)://host[:port]/v1#model"

# What a teacher needs (aiohttp, torch, native code) is imported when one of its kind is opened.


def _open_fake(rest: str) -> Teacher:
    from stillhouse.teachers._fake import open_fake_teacher

    return open_fake_teacher(rest)


def _open_replay(rest: str) -> Teacher:
    from stillhouse.teachers._replay import open_replay_teacher

    return open_replay_teacher(rest)


def _open_local(rest: str) -> Teacher:
    from stillhouse.teachers._local import open_local_teacher

    return open_local_teacher(rest)


def _open_gguf(rest: str) -> Teacher:
    from stillhouse.teachers._gguf import open_gguf_teacher

    return open_gguf_teacher(rest)


def _open_http(rest: str) -> Teacher:
    from stillhouse.teachers._http import open_http_teacher

    return open_http_teacher(f"http:{rest}")


def _open_https(rest: str) -> Teacher:
    from stillhouse.teachers._http import open_http_teacher

    return open_http_teacher(f"https:{rest}")


SCHEMES: dict[str, Callable[[str], Teacher]] = {
    "fake": _open_fake,
    "replay": _open_replay,
    "local": _open_local,
    "gguf": _open_gguf,
    "http": _open_http,
    "https": _open_https,
}


def open_teacher(spec: str) -> Teacher:
    """The teacher that `spec` names; close it, or use it in a `with` block.

    Args:
        spec: `fake:`, `fake:SCRIPT.jsonl`, `replay:DIR`, `local:` (the embedded default),
            `local:PATH`, `gguf:`, `gguf:PATH` or `http(s)://host[:port]/v1#model`.

    Raises:
        ConfigError: the spec has another form.
        TeacherUnavailableError: its model is missing or damaged.
        MissingDependencyError: it needs a package that is not installed.
    """
    scheme, colon, rest = spec.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme](rest)
    raise ConfigError(f"Teacher {spec!r} is not one of {_FORMS}.{_hint(spec, scheme)}")


def _hint(spec: str, scheme: str) -> str:
    if spec.endswith(".gguf"):
        return f" Did you mean 'gguf:{spec}'?"
    near = get_close_matches(scheme.lower(), SCHEMES, n=1)
    if not near:
        return ""
    return f" Did you mean '{near[0]}:'?"
