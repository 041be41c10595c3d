"""Everything stillhouse raises on purpose, as one tree.

    StillhouseError
    +-- ConfigError (ValueError)              a setting is wrong
    |   +-- FolderBusyError                   another process writes there
    |   +-- TermsError                        an owner's terms do not allow it
    +-- DataError (ValueError)                what was read is wrong
    |   +-- RecordError                       one row or field
    |   +-- ShapeError                        an array
    |   +-- IntegrityError                    an artefact: hash, schema, path, parent
    |       +-- SignatureError                a signed statement: changed, or does not count
    +-- TeacherError (RuntimeError)           a teacher did not answer as asked
    |   +-- TeacherUnavailableError           unreachable, refused, model missing or damaged
    |   +-- RateLimitedError
    |   +-- BudgetExceededError
    |   +-- LogprobsUnavailableError
    |   +-- VocabularyMismatchError
    +-- TooManyFailuresError (RuntimeError)   more items failed than allowed
    +-- NotCertifiedError (RuntimeError)      the rows do not certify what was asked for
    +-- TrainingError (RuntimeError)
    |   +-- PreflightError                  what would be learnt is not what was asked for
    |   +-- NonFiniteLossError
    |   +-- CheckpointError
    +-- ExportRefusedError (RuntimeError)     an export does not behave as its student does
    +-- MissingDependencyError (ImportError)

Each message is one line that says what was given, what is allowed and what to do. The command
line prints it without a traceback and exits with `exit_code`. To add an error: subclass the
branch it belongs to, give it a one-sentence docstring in the user's terms and list it in
`__all__`; keep it picklable (positional message only).
"""

import re
from typing import ClassVar

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

__all__ = [
    "StillhouseError",
    "ConfigError",
    "FolderBusyError",
    "TermsError",
    "DataError",
    "RecordError",
    "ShapeError",
    "IntegrityError",
    "SignatureError",
    "TeacherError",
    "TeacherUnavailableError",
    "RateLimitedError",
    "BudgetExceededError",
    "LogprobsUnavailableError",
    "VocabularyMismatchError",
    "TooManyFailuresError",
    "NotCertifiedError",
    "TrainingError",
    "PreflightError",
    "NonFiniteLossError",
    "CheckpointError",
    "ExportRefusedError",
    "MissingDependencyError",
]


class StillhouseError(Exception):
    """Anything that stillhouse raises on purpose."""

    exit_code: ClassVar[int] = 2
    retryable: ClassVar[bool] = False

    def __str__(self) -> str:
        """The message on one line that every terminal can print, whatever was quoted in it."""
        # File names and endpoints' answers may hold newlines, escape sequences or broken text.
        printable = _CONTROL.sub(" ", super().__str__())
        return printable.encode("utf-8", "backslashreplace").decode("utf-8")


class ConfigError(StillhouseError, ValueError):
    """A setting, flag or config file is wrong."""


class FolderBusyError(ConfigError):
    """Another process is writing the folder."""


class TermsError(ConfigError):
    """The terms of a teacher, of data or of a base forbid it, or are not known to allow it."""


class DataError(StillhouseError, ValueError):
    """What was read from disk or from a caller is wrong."""


class RecordError(DataError):
    """A row or one of its fields is not what the format allows."""


class ShapeError(DataError):
    """An array has the wrong shape, dtype or vocabulary size."""


class IntegrityError(DataError):
    """An artefact is not what its manifest says it is."""


class SignatureError(IntegrityError):
    """A signed statement was changed, or its signature does not count here."""


class TeacherError(StillhouseError, RuntimeError):
    """A teacher did not answer as asked."""


class TeacherUnavailableError(TeacherError):
    """A teacher cannot be reached, refuses the key, or its model is missing or damaged."""


class RateLimitedError(TeacherError):
    """A teacher asked us to slow down and kept asking."""

    retryable = True


class BudgetExceededError(TeacherError):
    """The next request could cross the spending limit."""


class LogprobsUnavailableError(TeacherError):
    """A teacher returns no token distributions, or fewer than were asked for."""


class VocabularyMismatchError(TeacherError):
    """A teacher signal belongs to another model, tokenizer or chat template."""


class TooManyFailuresError(StillhouseError, RuntimeError):
    """More items of a stage failed than `max_failure_fraction` allows."""

    exit_code = 3


class NotCertifiedError(StillhouseError, RuntimeError):
    """The rows do not certify what was asked for; the message says which would."""


class TrainingError(StillhouseError, RuntimeError):
    """Training cannot go on."""


class PreflightError(TrainingError):
    """A check before the first step found that training would learn the wrong thing."""


class NonFiniteLossError(TrainingError):
    """A loss or gradient became NaN or infinite; the weights were not updated with it."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, damaged or belongs to another run."""


class ExportRefusedError(StillhouseError, RuntimeError):
    """An exported model was measured and does not behave as the student does."""


class MissingDependencyError(StillhouseError, ImportError):
    """An optional package is not installed; the message says which extra brings it."""
