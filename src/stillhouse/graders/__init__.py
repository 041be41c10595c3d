"""Graders: what an answer is worth beside the expected one, as a score in [0, 1].

Graders compare canonical texts, as `tasks.parse_answer` gives them. A tie is a full score, an
answer that cannot be read scores 0, and something expected that cannot be read is an error.
"""

from stillhouse.graders._agreement import SelfAgreement, self_agreement
from stillhouse.graders._code import code
from stillhouse.graders._fields import (
    FieldCounts,
    compare_fields,
    document,
    field_counts,
    fields,
    micro_f1,
)
from stillhouse.graders._judge import JudgeTemplate, judge_messages, read_judge_template
from stillhouse.graders._judge_verdict import (
    Choice,
    OrderEffect,
    ReadVerdict,
    SwappedVerdict,
    VerdictProblem,
    Winner,
    read_verdict,
    swapped_verdict,
)
from stillhouse.graders._labels import label, label_jaccard
from stillhouse.graders._numeric import numeric
from stillhouse.graders._table import GRADERS, Grader, agreement_grader, grade, grader_of
from stillhouse.graders._texts import edit, exact, text, tokens

__all__ = [
    "Grader",
    "GRADERS",
    "grader_of",
    "agreement_grader",
    "grade",
    "label",
    "label_jaccard",
    "fields",
    "document",
    "FieldCounts",
    "field_counts",
    "compare_fields",
    "micro_f1",
    "text",
    "tokens",
    "edit",
    "exact",
    "numeric",
    "code",
    "SelfAgreement",
    "self_agreement",
    "JudgeTemplate",
    "read_judge_template",
    "judge_messages",
    "read_verdict",
    "ReadVerdict",
    "Choice",
    "VerdictProblem",
    "swapped_verdict",
    "SwappedVerdict",
    "Winner",
    "OrderEffect",
]
