"""The two sides of a dataset held against each other, before anything is made of them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from stillhouse.curate._config import ContaminationRule
from stillhouse.curate._contamination import Contamination, OverlapPair, contamination
from stillhouse.errors import DataError
from stillhouse.records import Prompt
from stillhouse.tasks import Task, input_text, last_user_text

_NUM_SHOWN = 10
_MAX_TEXT_CHARS = 120


class SplitCheck(NamedTuple):
    """What was found, and what is to be left out.

    Attributes:
        removed: Ids of training prompts that are taken out.
        results: For the manifest; None where there was nothing to compare.
    """

    removed: frozenset[str]
    results: dict[str, Any] | None


def check_split(
    prompts: Iterable[Prompt], rule: ContaminationRule, task: Task | None
) -> SplitCheck:
    """Compare the texts of training prompts with those of held-out ones.

    Of a task's prompts only the inputs are compared: the words of its template are the same in
    all of them.

    Raises:
        DataError: they share texts, and `rule` is "refuse".
    """
    sides: dict[str, dict[str, str]] = {"train": {}, "held_out": {}}
    for prompt in prompts:
        text = last_user_text(prompt)
        sides[prompt.split][prompt.id] = text if task is None else input_text(task, text)
    train, held_out = sides["train"], sides["held_out"]
    if not train or not held_out:
        return SplitCheck(frozenset(), None)
    found = contamination(list(train.values()), list(held_out.values()))
    if found.pairs and rule == "refuse":
        raise DataError(_refusal(found, train, held_out))
    ids = list(train)
    removed = frozenset(ids[place] for place in found.train) if rule == "remove" else frozenset()
    results = {
        "rule": rule,
        "num_train": found.num_train,
        "num_held_out": found.num_held_out,
        "fraction": found.fraction,
        **found.counts(),
        "removed": len(removed),
        "examples": [_example(pair, train, held_out) for pair in found.pairs[:_NUM_SHOWN]],
    }
    return SplitCheck(removed, results)


def _example(pair: OverlapPair, train: dict[str, str], held_out: dict[str, str]) -> dict[str, Any]:
    train_id, train_text = list(train.items())[pair.train]
    held_out_id, held_out_text = list(held_out.items())[pair.held_out]
    return {
        "kind": pair.kind,
        "similarity": round(pair.similarity, 4),
        "train": {"prompt_id": train_id, "text": _short(train_text)},
        "held_out": {"prompt_id": held_out_id, "text": _short(held_out_text)},
    }


def _refusal(found: Contamination, train: dict[str, str], held_out: dict[str, str]) -> str:
    counts = found.counts()["held_out"]
    kinds = ", ".join(f"{kind} {times}" for kind, times in counts.items() if times)
    first = _example(found.pairs[0], train, held_out)
    return (
        f"{len(found.held_out)} of {found.num_held_out} held-out texts ({found.fraction:.1%}) are "
        f"in the training data too ({kinds}), such as {first['held_out']['text']!r} and "
        f"{first['train']['text']!r}: measuring on them says nothing. Set contamination to remove, "
        f"which takes out {len(found.train)} of {found.num_train} training rows, or to allow."
    )


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_CHARS else f"{text[:_MAX_TEXT_CHARS]}..."
