"""What is known of the call behind a completion: its row, its manifest, the ledger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.artifacts import Artifact, PlacedRow, leaf_hash, places_where, row_at
from stillhouse.errors import IntegrityError, StillhouseError
from stillhouse.provenance._history_records import (
    ImportedFrom,
    LedgerCall,
    RowPlace,
    TeacherCall,
)
from stillhouse.provenance._lineage import Lineage
from stillhouse.provenance._origin import origin_of
from stillhouse.records import Completion, Prompt, Sampling, messages_identity
from stillhouse.runlog import Ledger

_CALLS = "completions"
_LEDGER = "ledger.sqlite"
RECORDED = "request "
"""What the place of a row begins with that was imported from a ledger; its id follows."""

Found = tuple[Artifact, PlacedRow]


class CallReader:
    """Reads calls of one lineage.

    Args:
        graph: The lineage.
        ledger: Where calls were recorded; None looks beside each artefact.

    Attributes:
        not_at_hand: What could not be told so far.
    """

    def __init__(self, graph: Lineage, ledger: Path | None) -> None:
        self._graph = graph
        self._ledger = ledger
        self._index = {node.path.resolve(): number for number, node in enumerate(graph.nodes)}
        self.not_at_hand: list[str] = []

    def call(self, node: Artifact, placed: PlacedRow) -> TeacherCall:
        """The call behind a completion."""
        *copies, (origin, first) = self._copies(node, placed)
        completion = Completion.model_validate(first.row)
        imported = _imported_from(origin, completion)
        asked = completion.request_id
        if completion.source is not None and completion.source.startswith(RECORDED):
            asked = completion.source.removeprefix(RECORDED)
        recorded, sampling = self._recorded(origin, asked)
        terms = _terms_of(origin)
        if terms is None:
            self.not_at_hand.append(
                f"terms: {origin.path} was made without the terms gate, so no verdict is recorded."
            )
        if completion.usage.cost_usd is None:
            self.not_at_hand.append("cost: the price of the call was not known when it was made.")
        if origin_of(origin)[0] != "import":
            sampling = origin.manifest.sampling
        if sampling is None:
            self.not_at_hand.append(
                f"sampling: {origin.path} was imported from what does not say how it was drawn."
            )
        if imported is not None and imported.place is None:
            self.not_at_hand.append(
                f"place: {origin.path} was imported before rows kept where they were read; import "
                "again to have it."
            )
        return TeacherCall(
            place=placed_at(origin, first),
            copies=tuple(placed_at(*copy) for copy in copies),
            request_id=completion.request_id,
            prompt_id=completion.prompt_id,
            sample_index=completion.sample_index,
            teacher=completion.teacher,
            model=completion.model,
            revision=_revision_of(origin, completion),
            sampling=sampling,
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            created_utc=completion.created_utc,
            terms=terms,
            imported=imported,
            ledger=recorded,
        )

    def _copies(self, node: Artifact, placed: PlacedRow) -> Iterator[Found]:
        """The completion, and those in earlier artefacts that it was taken from."""
        current: Found | None = (node, placed)
        while current is not None:
            yield current
            current = self._taken_from(*current)

    def _taken_from(self, node: Artifact, placed: PlacedRow) -> Found | None:
        number = self._index[node.path.resolve()]
        for edge in self._graph.edges:
            if edge.child != number:
                continue
            parent = self._graph.nodes[edge.parent]
            for at in places_where(parent, _CALLS, "request_id", {placed.row["request_id"]}):
                return parent, row_at(parent, at)
            replayed = _replayed(node, placed, parent)
            if replayed is not None:
                return replayed
        return None

    def _recorded(
        self, origin: Artifact, request_id: str
    ) -> tuple[LedgerCall | None, Sampling | None]:
        path = self._ledger or origin.path.resolve().parent / _LEDGER
        if not path.is_file():
            self.not_at_hand.append(
                f"ledger: there is none at {path}, so neither the response's own id nor its body "
                "is at hand."
            )
            return None, None
        try:
            with Ledger(path) as ledger:
                answer = next(ledger.answered([request_id]), None)
                request = next(ledger.requests([request_id]), None)
        except StillhouseError as err:
            if self._ledger is not None:
                raise
            self.not_at_hand.append(f"ledger: {path} cannot be read ({err}).")
            return None, None
        if answer is None:
            self.not_at_hand.append(
                f"ledger: {path} holds no answer to request {request_id[:16]}; it is another "
                "ledger, or the call was erased."
            )
            return None, request.sampling if request else None
        found = LedgerCall(
            path=str(path),
            response_id=answer.response_id,
            dialect=answer.dialect,
            answered_utc=answer.answered_utc,
            has_body=bool(answer.body),
        )
        return found, request.sampling if request else None


def placed_at(artifact: Artifact, placed: PlacedRow) -> RowPlace:
    """A row as it is told."""
    return RowPlace(
        path=str(artifact.path),
        kind=artifact.manifest.kind,
        stage=artifact.manifest.stage,
        manifest_sha256=artifact.manifest_sha256,
        file=placed.file,
        table=placed.table,
        row=placed.place,
        leaf_sha256=leaf_hash(placed.leaf).hex(),
    )


def _replayed(node: Artifact, placed: PlacedRow, parent: Artifact) -> Found | None:
    """What a recording answered with: the completion of the same messages and sample."""
    if not str(placed.row["teacher"]).startswith("replay:"):
        return None
    prompt_id = placed.row["prompt_id"]
    asked = next(
        (row for row in node.rows("prompts", Prompt) if row.id == prompt_id),
        None,
    )
    if asked is None:
        raise IntegrityError(
            f"{node.path} holds a completion for prompt {prompt_id!r}, which is not among its "
            "prompts. Collect it again."
        )
    words = messages_identity(asked.messages)
    for prompt in parent.rows("prompts", Prompt):
        if messages_identity(prompt.messages) != words:
            continue
        for at in places_where(parent, _CALLS, "prompt_id", {prompt.id}):
            found = row_at(parent, at)
            if found.row["sample_index"] == placed.row["sample_index"]:
                return parent, found
    return None


def _imported_from(origin: Artifact, completion: Completion) -> ImportedFrom | None:
    stage, config = origin_of(origin)
    if stage != "import":
        return None
    return ImportedFrom(
        name=str(origin.manifest.results.get("source", "")),
        sha256=str(config.get("source_sha256", "")),
        place=completion.source,
    )


def _revision_of(origin: Artifact, completion: Completion) -> str | None:
    teacher = origin.manifest.teacher
    if teacher is not None and teacher.id == completion.teacher:
        return teacher.revision
    several = origin_of(origin)[1].get("teachers")
    for one in several.values() if isinstance(several, dict) else ():
        if isinstance(one, dict) and one.get("id") == completion.teacher:
            revision = one.get("revision")
            return revision if isinstance(revision, str) else None
    return None


def _terms_of(origin: Artifact) -> dict[str, Any] | None:
    """The whole record of the gate where there is one, else the short one of the teacher."""
    recorded = origin.manifest.results.get("terms")
    if isinstance(recorded, dict):
        return recorded
    teacher = origin.manifest.teacher
    if teacher is None or teacher.terms is None:
        return None
    return teacher.terms.model_dump(mode="json")
