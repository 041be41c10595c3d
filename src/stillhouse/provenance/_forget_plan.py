"""The plan for rebuilding without some rows: what goes, what is made again, what stays."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from stillhouse.artifacts import Artifact, places_where, tables_of
from stillhouse.provenance._forget_selection import (
    Matched,
    Selection,
    match,
    matching_examples,
)
from stillhouse.provenance._origin import origin_of
from stillhouse.provenance._shelf import Shelf, open_shelf
from stillhouse.records import Completion, Prompt, Record, messages_identity

Action = Literal["filter", "rerun", "remove", "by_hand"]

CAPTURE = "capture"
RERUN_STAGES = ("curate", "join", "fit", "train", "certify")
"""Stages whose manifest says all that is needed to run them again."""
_OUTSIDE = (
    "Files of prompts and exports of other tools are no artefacts: take the rows out of them too, "
    "or the next collect or import brings them back.",
    "A ledger keeps what was asked and answered for as long as it is not erased: forget --erase.",
)


class ForgetStep(Record):
    """One artefact that is made of the rows, and what becomes of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    path: str
    kind: str
    stage: str
    manifest_sha256: str
    action: Action
    """`filter` takes the rows out; `rerun` runs its stage again on what its parents then are;
    `remove` takes it away, since nothing is left to make it of; `by_hand` is for you."""
    rows: dict[str, int]
    """By table, how many of its rows are made of what goes."""
    prompt_ids: tuple[str, ...]
    """Of `filter`: the prompts that are taken out."""
    request_ids: tuple[str, ...]
    """Of `filter`: the answers that are taken out."""
    is_copy: bool
    """Whether it is a copy of another artefact under the roots."""
    why: str
    """In a few words, what was found and what to do."""
    parents: tuple[str, ...]
    """The folders that it is made of again, in their order."""
    seconds: float
    """What it took when it was made."""
    cost_usd: float | None
    """What making it again may cost; null where that is not known."""


class ForgetPlan(Record):
    """What is to be done so that no artefact under some folders holds the rows, or descends."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    created_utc: datetime
    what: str
    value: str
    why: str
    roots: tuple[str, ...]
    steps: tuple[ForgetStep, ...]
    """In the order in which they are to be done."""
    untouched: int
    """Artefacts under the roots that neither hold the rows nor descend from them."""
    unknown: tuple[str, ...]
    """Folders of which it cannot be said, and why."""
    call_ids: tuple[str, ...]
    """The calls behind the rows, as a ledger has them."""
    outside: tuple[str, ...] = _OUTSIDE
    """What no plan over artefacts can see."""

    @property
    def seconds(self) -> float:
        """What the steps took when they were made, those by hand included."""
        return sum(step.seconds for step in self.steps if step.action in ("rerun", "by_hand"))

    @property
    def cost_usd(self) -> float | None:
        """What the steps may cost; None where that is not known of one."""
        costs = [step.cost_usd for step in self.steps]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


def plan_forgetting(
    selection: Selection,
    roots: Sequence[Path],
    *,
    why: str = "",
    stages: Collection[str] = RERUN_STAGES,
    now: datetime | None = None,
) -> ForgetPlan:
    """What has to be done to every artefact under `roots` that is made of the selected rows.

    Nothing is written. Lineages are followed by the hashes of manifests, so copies are found under
    whatever name they have.

    Args:
        selection: What goes.
        roots: Folders with all that may be made of it.
        why: Kept in the plan.
        stages: Those that can be run again; `capture` too where its teacher is at hand.
        now: The time of the plan; that of this machine when None.

    Returns:
        The plan; without steps where nothing under `roots` is made of the rows.

    Raises:
        ConfigError: a root is no folder, or holds no artefact.
        IntegrityError: an artefact that has to be read is damaged.
    """
    shelf = open_shelf(roots)
    planner = _Planner(shelf, selection, stages)
    steps = planner.steps()
    unknown = [f"{path}: {error}" for path, error in shelf.unreadable]
    for number, names in shelf.missing.items():
        if number not in planner.affected:
            missing = ", ".join(names)
            unknown.append(
                f"{shelf.nodes[number].path}: made from {missing}, which is not under these folders"
            )
    return ForgetPlan(
        created_utc=now or datetime.now(UTC),
        what=selection.what,
        value=selection.value,
        why=why,
        roots=tuple(str(root) for root in roots),
        steps=tuple(steps),
        untouched=len(shelf.nodes) - len(steps),
        unknown=tuple(unknown),
        call_ids=tuple(sorted(planner.call_ids)),
    )


class _Planner:
    """Goes over a shelf, parents first.

    Attributes:
        affected: The numbers of artefacts with a step.
        call_ids: The calls behind the rows.
    """

    def __init__(self, shelf: Shelf, selection: Selection, stages: Collection[str]) -> None:
        self._shelf = shelf
        self._selection = selection
        self._stages = stages
        self._matched: dict[int, Matched] = {}
        self._actions: dict[int, Action] = {}
        self._rebuilt = {
            number for number, node in enumerate(shelf.nodes) if node.manifest.stage == "forget"
        }
        self._rebuilt |= shelf.descendants(self._rebuilt)
        self.affected: set[int] = set()
        self.call_ids: set[str] = set()

    def steps(self) -> list[ForgetStep]:
        """What becomes of each artefact that is affected."""
        steps = []
        for number, node in enumerate(self._shelf.nodes):
            rows = self._rows(number, node)
            touched = any(parent in self.affected for parent in self._shelf.parents[number])
            was_left = number in self._shelf.stale and number in self._rebuilt
            if rows or touched or was_left:
                self.affected.add(number)
                steps.append(self._step(number, node, rows))
        return steps

    def _rows(self, number: int, node: Artifact) -> dict[str, int]:
        """By table, the rows that are made of what goes."""
        if node.manifest.kind == "completions":
            found = self._with_replayed(number, node, match(node, self._selection))
            self._matched[number] = found
            self.call_ids |= found.call_ids
            counts = {"completions": len(found.request_ids), "prompts": len(found.prompt_ids)}
            return {table: count for table, count in counts.items() if count}
        requests, prompts = self._inherited(number)
        if node.manifest.kind == "dataset":
            for example in matching_examples(node, self._selection):
                requests.add(example.request_id)
                prompts.add(example.prompt_id)
            ids = frozenset(prompts)
            calls = frozenset(requests)
            self._matched[number] = Matched(ids, calls, ids, calls, 0)
        counts = {}
        for table in tables_of(node):
            places = set(places_where(node, table, "request_id", requests))
            if not places:
                places = set(places_where(node, table, "prompt_id", prompts))
            if places:
                counts[table] = len(places)
        return counts

    def _inherited(self, number: int) -> tuple[set[str], set[str]]:
        """The requests and prompts that go of all that an artefact was made from."""
        requests: set[str] = set()
        prompts: set[str] = set()
        for ancestor in self._shelf.ancestors(number):
            matched = self._matched.get(ancestor)
            if matched is not None:
                requests |= matched.request_ids
                prompts |= matched.asked_ids
        return requests, prompts

    def _with_replayed(self, number: int, node: Artifact, found: Matched) -> Matched:
        """With the answers that a replay took from recordings that go."""
        parents = [
            parent
            for parent in self._shelf.parents[number]
            if parent in self._matched and self._matched[parent].request_ids
        ]
        if not parents or node.manifest.stage == "join":
            return found
        asked: set[tuple[str, int]] = set()
        for parent in parents:
            asked |= _asked(self._shelf.nodes[parent], self._matched[parent].request_ids)
        words = {one.id: messages_identity(one.messages) for one in node.rows("prompts", Prompt)}
        requests, prompts = set(found.request_ids), set(found.asked_ids)
        total = 0
        for request_id, prompt_id, sample_index in _answers(node):
            total += 1
            if (words.get(prompt_id, ""), sample_index) in asked:
                requests.add(request_id)
                prompts.add(prompt_id)
        return replace(
            found,
            request_ids=frozenset(requests),
            asked_ids=frozenset(prompts),
            call_ids=found.call_ids | requests,
            num_left=total - len(requests),
        )

    def _step(self, number: int, node: Artifact, rows: dict[str, int]) -> ForgetStep:
        action, why = self._judged(number, node, rows)
        self._actions[number] = action
        usage = node.manifest.usage
        asks_again = action == "by_hand"
        taken = self._matched.get(number) if action == "filter" else None
        return ForgetStep(
            path=str(node.path),
            kind=node.manifest.kind,
            stage=node.manifest.stage,
            manifest_sha256=node.manifest_sha256,
            action=action,
            rows=rows,
            prompt_ids=() if taken is None else tuple(sorted(taken.prompt_ids)),
            request_ids=() if taken is None else tuple(sorted(taken.request_ids)),
            is_copy=number in self._shelf.copies,
            why=why,
            parents=tuple(
                str(self._shelf.nodes[parent].path)
                for parent in self._shelf.parents[number]
                if self._actions.get(parent) != "remove"
            ),
            seconds=usage.seconds if action in ("rerun", "by_hand") else 0.0,
            cost_usd=usage.cost_usd if asks_again else 0.0,
        )

    def _judged(self, number: int, node: Artifact, rows: dict[str, int]) -> tuple[Action, str]:
        stage, _ = origin_of(node)
        parents = self._shelf.parents[number]
        gone = [parent for parent in parents if self._actions.get(parent) == "remove"]
        original = self._shelf.copies.get(number)
        if original is not None:
            path = self._shelf.nodes[original].path
            return "by_hand", f"a copy of {path}: put what that becomes in its place, or remove it"
        if node.manifest.kind == "completions" and stage != "join":
            if self._matched[number].num_left == 0:
                return "remove", "nothing is left of it"
            return "filter", "the rows are taken out; no teacher is asked"
        if len(gone) == len(parents) > 0 or (gone and stage != "join"):
            return "remove", "what it was made of is gone"
        if number in self._shelf.missing:
            missing = ", ".join(self._shelf.missing[number])
            return "by_hand", f"made from {missing} too, which is not under these folders"
        grades = node.manifest.config.get("grades_sha256")
        if stage in self._stages and not grades:
            return "rerun", _why_rerun(rows)
        return "by_hand", f"run `stillhouse {stage}` again with --force once its inputs are made"


def _why_rerun(rows: dict[str, int]) -> str:
    if rows:
        return "its rows hold what goes"
    return "it was made of what changes; its files are kept where its inputs come out the same"


def _asked(node: Artifact, request_ids: frozenset[str]) -> set[tuple[str, int]]:
    words = {one.id: messages_identity(one.messages) for one in node.rows("prompts", Prompt)}
    return {
        (words[prompt_id], sample_index)
        for request_id, prompt_id, sample_index in _answers(node)
        if request_id in request_ids and prompt_id in words
    }


def _answers(node: Artifact) -> list[tuple[str, str, int]]:
    return [
        (row.request_id, row.prompt_id, row.sample_index)
        for row in node.rows("completions", Completion)
    ]
