"""A teacher that answers from completions that were collected before."""

from collections.abc import Iterator
from pathlib import Path

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.records import Completion, ItemError, Prompt, Request, Usage, messages_identity
from stillhouse.runlog import Answer
from stillhouse.teachers._answers import answer_of, failed
from stillhouse.teachers._base import Pull, Teacher, TeacherInfo

_GROUP = 64  # not tuned; large enough that a ledger commits rarely


class ReplayTeacher(Teacher):
    """Answers with the recorded completion of the same messages and the same sample index.

    Sampling is not compared: what was recorded is what the teacher says, whatever is asked for,
    and it costs nothing again. A request without a recording is the item error `not_recorded`.

    Attributes:
        artifact: The completions artefact that answers.

    Raises:
        ConfigError: the folder holds another kind of artefact.
        IntegrityError: it is not a sound artefact.
    """

    def __init__(self, folder: Path) -> None:
        self.artifact: Artifact = open_artifact(folder, kind="completions")
        manifest = self.artifact.manifest
        self._recorded = _recordings(self.artifact)
        self._info = TeacherInfo(
            id=f"replay:{self.artifact.manifest_sha256[:16]}",
            provider="replay",
            revision=manifest.teacher.revision if manifest.teacher else None,
            max_top_logprobs=manifest.sampling.top_logprobs if manifest.sampling else 0,
            tokenizer_sha256=manifest.tokenizer.sha256 if manifest.tokenizer else None,
            chat_template_sha256=manifest.chat_template_sha256,
        )

    @property
    def info(self) -> TeacherInfo:
        """What answers; the id is that of the recording, fingerprints those of its teacher."""
        return self._info

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        """Answer everything that `pull` hands out."""
        while requests := pull(_GROUP):
            yield [self._answer(request) for request in requests]

    def close(self) -> None:
        """Nothing to release."""

    def _answer(self, request: Request) -> Answer:
        found = self._recorded.get((messages_identity(request.messages), request.sample_index))
        if found is None:
            message = (
                f"{self.artifact.path} holds no completion {request.sample_index} for the "
                f"messages of prompt {request.prompt_id!r}; collect it from the teacher itself"
            )
            error = ItemError(type="not_recorded", message=message)
            return failed(request, error, model=self._info.id)
        usage = Usage(
            prompt_tokens=found.usage.prompt_tokens,
            completion_tokens=found.usage.completion_tokens,
            cost_usd=0.0,
        )
        update = {"request_id": request.id, "prompt_id": request.prompt_id, "usage": usage}
        return answer_of(found.model_copy(update=update))


def open_replay_teacher(rest: str) -> ReplayTeacher:
    """The teacher of `replay:DIR`.

    Raises:
        ConfigError: no folder is given, or it holds another kind of artefact.
        IntegrityError: it is not a sound artefact.
    """
    if not rest:
        raise ConfigError(
            "Teacher 'replay:' needs the folder of a completions artefact: replay:DIR."
        )
    return ReplayTeacher(Path(rest))


def _recordings(artifact: Artifact) -> dict[tuple[str, int], Completion]:
    hashes = {
        prompt.id: messages_identity(prompt.messages) for prompt in artifact.rows("prompts", Prompt)
    }
    recorded: dict[tuple[str, int], Completion] = {}
    for completion in artifact.rows("completions", Completion):
        if completion.prompt_id not in hashes:
            raise IntegrityError(
                f"{artifact.path} holds a completion for prompt {completion.prompt_id!r}, which is "
                "not among its prompts. Collect it again."
            )
        key = (hashes[completion.prompt_id], completion.sample_index)
        recorded.setdefault(key, completion)
    return recorded
