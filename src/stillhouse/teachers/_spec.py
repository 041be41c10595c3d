"""From a teacher's spec, one string, to the teacher."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.teachers._access import Access
from stillhouse.teachers._base import Teacher
from stillhouse.teachers._providers import PROVIDERS

_FORMS = (
    "fake:, replay:DIR, local:[PATH], gguf:[PATH], PROVIDER:MODEL, http(s)://host[:port]/v1#model, "
    "decisions:http(s)://host[:port]/v1#model"
)

# What a teacher needs (aiohttp, torch, native code) is imported when one of its kind is opened.


def _open_fake(rest: str) -> Teacher:
    from stillhouse.teachers._fake import open_fake_teacher

    return open_fake_teacher(rest)


def _open_replay(rest: str) -> Teacher:
    from stillhouse.teachers._replay import open_replay_teacher

    return open_replay_teacher(rest)


def _open_local(rest: str) -> Teacher:
    from stillhouse.classifiers import is_classifier_folder

    folder = Path(rest)
    if rest and is_classifier_folder(folder):
        from stillhouse.teachers._classifier import ClassifierTeacher

        return ClassifierTeacher(folder)  # without torch
    from stillhouse.teachers._local import open_local_teacher

    return open_local_teacher(rest)


def _open_gguf(rest: str) -> Teacher:
    from stillhouse.teachers._gguf import open_gguf_teacher

    return open_gguf_teacher(rest)


LOCAL_SCHEMES: dict[str, Callable[[str], Teacher]] = {
    "fake": _open_fake,
    "replay": _open_replay,
    "local": _open_local,
    "gguf": _open_gguf,
}
_URL_SCHEMES = ("http", "https")
DECISIONS_SCHEME = "decisions"
SCHEMES = (*LOCAL_SCHEMES, *_URL_SCHEMES, DECISIONS_SCHEME, *PROVIDERS)
"""What a spec can begin with."""


def open_teacher(spec: str, access: Access | None = None) -> Teacher:
    """The teacher that `spec` names; close it, or use it in a `with` block.

    Args:
        spec: `fake:`, `fake:SCRIPT.jsonl`, `replay:DIR`, `local:` (the embedded default),
            `local:PATH` (a model, or a student of `fit`), `gguf:`, `gguf:PATH`, `PROVIDER:MODEL`, `http(s)://host[:port]/v1#model`
            or `decisions:http(s)://host[:port]/v1#model`.
        access: How an API teacher is asked.

    Raises:
        ConfigError: the spec has another form, or a provider's key is not in the environment.
        TeacherUnavailableError: its model is missing or damaged.
        MissingDependencyError: it needs a package that is not installed.
    """
    scheme, colon, rest = spec.partition(":")
    if colon and scheme in LOCAL_SCHEMES:
        return LOCAL_SCHEMES[scheme](rest)
    if colon and scheme in _URL_SCHEMES:
        from stillhouse.teachers._open_api import open_url_teacher

        return open_url_teacher(spec, access or Access())
    if colon and scheme == DECISIONS_SCHEME:
        from stillhouse.teachers._open_api import open_decisions_teacher

        return open_decisions_teacher(rest, access or Access())
    if colon and scheme in PROVIDERS:
        from stillhouse.teachers._open_api import open_provider_teacher

        return open_provider_teacher(scheme, rest, access or Access())
    raise ConfigError(f"Teacher {spec!r} is not one of {_FORMS}.{_hint(spec, scheme)}")


def may_read_labels(spec: str) -> bool:
    """Whether the teacher that `spec` names may choose among the labels of a prompt."""
    return spec.partition(":")[0] in ("local", DECISIONS_SCHEME)


def _hint(spec: str, scheme: str) -> str:
    if spec.endswith(".gguf"):
        return f" Did you mean 'gguf:{spec}'?"
    near = get_close_matches(scheme.lower(), SCHEMES, n=1)
    if near:
        return f" Did you mean '{near[0]}:'?"
    return f" Providers are {', '.join(PROVIDERS)}."
