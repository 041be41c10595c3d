"""Words that ask a model to lay its reasoning open, to judge, or to make material for training.

A rule list, not a verdict: people who learn, test and build ask so too. What counts is how an
account's share of such requests stands beside that of benign ones (`_reference.py`).

Source: what was disclosed of campaigns in February 2026 (prompts that have reasoning articulated
step by step, rubric grading, the making of variants), and of "reasoning trace coercion".
"""

import re

_THINK = r"(?:think|thinking|thought|thoughts|reason|reasoning|rationale|deliberat\w+)"
_SHOW = r"(?:show|explain|write|spell|lay|give|articulate|describe|narrate|list|include|output)"
CUES = {
    "steps": r"step[- ]by[- ]step|one step at a time|each step|every step|intermediate steps?"
    r"|number(?:ed)? (?:each|every|the) (?:step|inference|line)s?",
    "reasoning": rf"{_SHOW}\b[^.\n]{{0,40}}\b{_THINK}|chain[- ]of[- ]thought|reasoning trace"
    rf"|{_THINK} (?:aloud|out loud|process|first)|inner monologue|scratch ?pad|<think(?:ing)?>"
    r"|before (?:you )?answer(?:ing)?\b|how you (?:got|arrived|came)",
    "judging": r"\brubric\b|\bgrade\b[^.\n]{0,40}\b(?:answer|response|completion)s?"
    r"|\b(?:rate|score|rank|compare)\b[^.\n]{0,30}\b(?:answer|response|completion|candidate)s?"
    r"|reward model|which (?:answer|response) is better",
    "material": r"training (?:data|example|sample|set|pair)s?|(?:diverse|distinct|different)"
    r" (?:answers|solutions|responses|variants|variations|examples|ways)"
    r"|paraphrase[sd]? (?:the|this)|alternative solutions|self[- ]critique"
    r"|critique (?:your|the) (?:own )?(?:answer|draft|response)"
    r"|gold[- ]standard|instruction[- ](?:response|following)|tool[- ]use trajector",
    "hidden": r"system prompt|internal (?:reasoning|deliberation|thought)|behind (?:the|your|this)"
    r" (?:completed )?(?:answer|response|completion)"
    r"|do not (?:skip|omit|hide|summari[sz]e) (?:any|your)",
}
_CUES = [re.compile(pattern, re.IGNORECASE) for pattern in CUES.values()]
# A kind of cue has at least one of these in it: most prompts have none, and none is searched then.
_BEGINNINGS = (
    ("step", "number"),
    (
        *("think", "thought", "reason", "rational", "deliberat"),
        *("inner mono", "scratch", "before", "how you"),
    ),
    ("rubric", "grade", "rate", "score", "rank", "compare", "reward", "which"),
    (
        *("training", "diverse", "distinct", "different", "paraphrase", "alternative"),
        *("critique", "gold", "instruction", "tool"),
    ),
    ("system", "internal", "behind", "do not"),
)


def cues_in(text: str) -> int:
    """Which kinds of cues a text has, a bit for each in the order of `CUES`."""
    found = 0
    # Other letters than those of ASCII may be equal to one of them where case is ignored.
    lower = text.lower() if text.isascii() else None
    for number, (cue, beginnings) in enumerate(zip(_CUES, _BEGINNINGS, strict=True)):
        if lower is not None and not any(beginning in lower for beginning in beginnings):
            continue
        if cue.search(text) is not None:
            found |= 1 << number
    return found
