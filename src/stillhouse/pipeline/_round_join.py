"""Answers of several collections in one, with every prompt on one side of the split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from stillhouse.artifacts import Artifact, Counts, TeacherRef, begin_artifact, is_up_to_date
from stillhouse.artifacts import open_artifact as open_folder
from stillhouse.records import Completion, Prompt, Record, Split, Usage, content_hash
from stillhouse.runlog import Listener, Ticker, ignore_progress

_STAGE = "join"
_ID_HEX_DIGITS = 16


class JoinConfig(Record):
    """How collections are joined: there is one way."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def join(
    collections: Sequence[Artifact],
    out: Path,
    *,
    config: JoinConfig,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """The prompts and completions of several collections.

    What asks the same is one prompt with the completions of all, whatever it is called; it is held
    out if it is so in any of them. A completion that is there twice is taken once.

    Args:
        collections: Completions artefacts; where names differ, the first one's stay.
        out: Folder; one that the same inputs made is returned as it is.
        config: Without settings.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about the completions read.
    """
    resolved = config.model_dump(mode="json")
    parents = list(collections)
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
        return open_folder(out)
    writer = begin_artifact(
        out,
        kind="completions",
        stage=_STAGE,
        config=resolved,
        config_given=config_given,
        parents=parents,
        replace=replace,
    )
    try:
        joined = _Joined()
        for place, collection in enumerate(collections):
            joined.add(place, collection)
        total = sum(collection.manifest.counts.kept for collection in collections)
        ticker = Ticker(on_progress, stage=_STAGE, total=total, unit="completions")
        writer.write_rows("prompts", joined.prompts.values(), Prompt)
        kept = writer.write_rows("completions", joined.completions(collections, ticker), Completion)
        counts = {"in": total, "kept": kept, "dropped": {}}
        if kept < total:
            counts["dropped"] = {"repeated": total - kept}
        return writer.finish(
            counts=Counts.model_validate(counts),
            usage=Usage(cost_usd=0.0),  # what was paid stands in the parents
            teacher=_teacher(collections),
            results={
                "collections": len(collections),
                "prompts": len(joined.prompts),
                "held_out": sum(p.split == "held_out" for p in joined.prompts.values()),
            },
        )
    finally:
        writer.release()


@dataclass
class _Joined:
    """Prompts by their new ids.

    Attributes:
        prompts: In order.
        names: New ids by collection and id there.
    """

    prompts: dict[str, Prompt] = field(default_factory=dict)
    names: dict[tuple[int, str], str] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)

    def add(self, place: int, collection: Artifact) -> None:
        """Take the prompts of a collection."""
        for prompt in collection.rows("prompts", Prompt):
            asks = _asks(prompt)
            known = self._known.get(asks)
            if known is None:
                known = self._named(prompt.id, asks)
                self._known[asks] = known
                self.prompts[known] = prompt.model_copy(update={"id": known})
            elif prompt.split == "held_out":
                held_out: Split = "held_out"
                update = {"split": held_out}
                self.prompts[known] = self.prompts[known].model_copy(update=update)
            self.names[place, prompt.id] = known

    def completions(self, collections: Sequence[Artifact], ticker: Ticker) -> Iterator[Completion]:
        """All completions, each once, under the new ids."""
        seen: set[str] = set()
        for place, collection in enumerate(collections):
            for completion in collection.rows("completions", Completion):
                ticker.advance()
                if completion.request_id in seen:
                    continue
                seen.add(completion.request_id)
                name = self.names[place, completion.prompt_id]
                yield completion.model_copy(update={"prompt_id": name})

    def _named(self, wanted: str, asks: str) -> str:
        """A name that no other prompt has."""
        return wanted if wanted not in self.prompts else f"{wanted}-{asks[:_ID_HEX_DIGITS]}"


def _asks(prompt: Prompt) -> str:
    """What a prompt asks, without the labels beside it: a client sends none."""
    messages = [message.model_dump(mode="json") for message in prompt.messages]
    tools = [tool.model_dump(mode="json") for tool in prompt.tools]
    return content_hash([messages, tools, prompt.output_schema])


def _teacher(collections: Sequence[Artifact]) -> TeacherRef:
    """Who answered, where it was one and the same."""
    teachers = {
        collection.manifest.teacher.id
        for collection in collections
        if collection.manifest.teacher is not None
    }
    name = teachers.pop() if len(teachers) == 1 else "join:several"
    return TeacherRef(id=name, provider="join", revision=None)
