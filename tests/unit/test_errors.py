"""The error tree: complete, picklable, and one printable line each."""

import inspect
import pickle
import re

import pytest

from stillhouse import errors

ALL = [getattr(errors, name) for name in errors.__all__]
by_name = pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)


def test_every_error_is_listed_and_drawn_in_the_tree() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.StillhouseError)
    }
    drawn = set(re.findall(r"\b\w+Error\b", errors.__doc__ or ""))
    assert defined == set(errors.__all__)
    assert defined == drawn - {"ValueError", "RuntimeError", "ImportError"}


@by_name
def test_an_error_survives_pickling(error: type[errors.StillhouseError]) -> None:
    copy = pickle.loads(pickle.dumps(error("one line.")))
    assert type(copy) is error
    assert str(copy) == "one line."


@by_name
def test_an_error_has_a_docstring_of_one_sentence(error: type[errors.StillhouseError]) -> None:
    assert "__doc__" in vars(error)
    assert re.fullmatch(r"[A-Z][^\n]*\.", error.__doc__ or "")


@by_name
def test_an_error_is_one_the_user_can_fix_or_too_many_failures(
    error: type[errors.StillhouseError],
) -> None:
    assert error.exit_code == (3 if error is errors.TooManyFailuresError else 2)


@by_name
def test_a_message_is_one_printable_line(error: type[errors.StillhouseError]) -> None:
    hostile = "a\nb\r\nc\x1b[31md\x00e\u2028f\x85g \u00e9\u6f22"
    assert str(error(hostile)) == "a b c [31md e f g \u00e9\u6f22"


@by_name
def test_a_message_can_be_written_as_utf8(error: type[errors.StillhouseError]) -> None:
    assert str(error("file\udcff")).encode() == b"file\\udcff"


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.TeacherError, RuntimeError),
        (errors.TrainingError, RuntimeError),
        (errors.TooManyFailuresError, RuntimeError),
        (errors.NotCertifiedError, RuntimeError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_a_branch_is_caught_as_what_it_replaces(
    error: type[Exception], builtin: type[Exception]
) -> None:
    with pytest.raises(builtin):
        raise error("one line.")
