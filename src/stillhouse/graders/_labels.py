"""Labels: one or several, compared as sets."""

from stillhouse.tasks import LABEL_SEPARATOR


def label(answer: str, expected: str) -> float:
    """1 where both name the same labels, in any order; an empty text names none."""
    return float(_labels(answer) == _labels(expected))


def label_jaccard(answer: str, expected: str) -> float:
    """The labels in both over the labels in either; 1 where both name none."""
    given, wanted = _labels(answer), _labels(expected)
    either = given | wanted
    return len(given & wanted) / len(either) if either else 1.0


def _labels(text: str) -> set[str]:
    return set(text.split(LABEL_SEPARATOR)) if text else set()
