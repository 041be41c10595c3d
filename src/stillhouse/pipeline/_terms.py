"""The terms of a whole run, before its first stage: what teacher and base models say together."""

from pathlib import Path

from stillhouse.pipeline._config import RunConfig
from stillhouse.provenance import run_terms, terms_given
from stillhouse.terms import Terms, TermsRecord


def terms_of_config(config: RunConfig, config_dir: Path, terms: Terms | None = None) -> TermsRecord:
    """The verdict over a run, whatever it is.

    Args:
        config: The run.
        config_dir: What its paths are relative to.
        terms: What was declared; what the config names when None.

    Raises:
        ConfigError: the declaration is wrong, or a teacher looks like another.
    """
    if terms is None:
        terms = terms_given(config_dir / config.terms if config.terms is not None else None)
    return run_terms(
        config.teacher,
        [(one.base, one.init == "random") for one in config.students.values()],
        terms,
        data=(config_dir / config.prompts).as_posix(),
    )
