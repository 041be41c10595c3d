"""Students of a task at work: from a message to an answer and how sure they are of it.

Whatever a student is, a classifier or a language model, it answers `Question` with `Given`.
Evaluation and certification ask students in the same way, by this room.
"""

from stillhouse.answers._classifier import ClassifierAnswerer, require_same_labels
from stillhouse.answers._given import (
    Answerer,
    Given,
    Question,
    most_likely,
    require_confidences,
)
from stillhouse.answers._language_model import (
    Held,
    LabelTrieAnswerer,
    WritingAnswerer,
    language_model_answerer,
)
from stillhouse.answers._questions import questions_of

__all__ = [
    "Question",
    "Given",
    "Answerer",
    "questions_of",
    "most_likely",
    "require_confidences",
    "ClassifierAnswerer",
    "require_same_labels",
    "language_model_answerer",
    "Held",
    "LabelTrieAnswerer",
    "WritingAnswerer",
]
