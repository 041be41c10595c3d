"""The texts of a test, in the watermark's tokens, with what of them may be scored.

Letters: T tokens of a completion, N scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.chat import ChatTokenizer
from stillhouse.errors import DataError, RecordError, VocabularyMismatchError
from stillhouse.protect._weights import CorpusContexts, Ints, Windows, fresh_windows
from stillhouse.records import Completion, Example, Message, Prompt
from stillhouse.watermark import Profile

Once = Literal["context", "token", "never"]
TEXT_KINDS = ("dataset", "completions")


@dataclass(frozen=True)
class Text:
    """A prompt and what was answered.

    Attributes:
        messages: The prompt.
        completion: The answer.
        completion_token_ids: The tokens that were drawn, where they are known.
    """

    messages: tuple[Message, ...]
    completion: str
    completion_token_ids: tuple[int, ...] | None


@dataclass(frozen=True)
class ScoredText:
    """A text in the watermark's tokens.

    Attributes:
        messages: The prompt.
        completion: The answer.
        completion_ids: The answer, end of turn included.
        windows: The tokens that count, none twice in the corpus.
        chat: The watermark's tokenizer.
    """

    messages: tuple[Message, ...]
    completion: str
    completion_ids: tuple[int, ...]
    windows: Windows
    chat: ChatTokenizer

    @cached_property
    def starts_T(self) -> Ints:
        """(T,) where each token begins, in bytes of the answer.

        Raises:
            RecordError: the tokens do not write the answer.
        """
        ends = self.chat.spans(self.completion_ids, self.completion).ends
        return np.concatenate([[0], ends[:-1]]).astype(np.int64)

    @property
    def written_N(self) -> Ints:
        """The tokens that count."""
        return np.array(self.completion_ids, dtype=np.int64)[self.windows.positions_N]


@dataclass(frozen=True)
class Corpus:
    """What is left of the texts.

    Attributes:
        texts: Those with a token that counts.
        num_texts: All that were read.
        num_tokens: Completion tokens of all.
        num_windows: Tokens that count.
    """

    texts: tuple[ScoredText, ...]
    num_texts: int
    num_tokens: int
    num_windows: int


def open_texts(folder: Path) -> tuple[Artifact, list[Text]]:
    """The texts of a dataset or of completions, with the artefact.

    Raises:
        IntegrityError: it is damaged.
        DataError: it is another kind of artefact, or has no text.
    """
    artifact = open_artifact(folder)
    if artifact.manifest.kind not in TEXT_KINDS:
        raise DataError(
            f"{folder} is a {artifact.manifest.kind}; texts are in a dataset that curate wrote, or "
            "in completions that collect wrote. Give one of these."
        )
    texts = _examples(artifact) if artifact.manifest.kind == "dataset" else _completions(artifact)
    if not texts:
        raise DataError(f"{folder} holds no text: nothing was answered. Give one that does.")
    return artifact, texts


def score_windows(
    texts: Sequence[Text],
    chat: ChatTokenizer,
    profile: Profile,
    *,
    max_contexts: int,
    has_own_tokens: bool,
    only: frozenset[int] | None = None,
    once: Once = "context",
) -> Corpus:
    """Tokens that count: in a whole context that is new in its text, each once in the corpus.

    Args:
        texts: In the order in which they are read.
        chat: The watermark's tokenizer.
        profile: Says how long a context is.
        max_contexts: Enough.
        has_own_tokens: Whether the token ids of texts are of `chat`.
        only: Contexts that may count, or None for all.
        once: What may count only once in the corpus: a context, a token in it, or nothing where
            the caller adds up.
    """
    seen = CorpusContexts()
    kept: list[ScoredText] = []
    num_texts = num_tokens = num_windows = 0
    for text in texts:
        if num_windows >= max_contexts:
            break
        num_texts += 1
        own = text.completion_token_ids if has_own_tokens else None
        try:
            encoded = chat.encode_example(text.messages, text.completion, own)
        except RecordError:  # a text that spells out a control token was never marked
            continue
        ids = encoded.completion_ids
        num_tokens += len(ids)
        windows = fresh_windows(encoded.ids[: encoded.num_prompt], ids, profile.context_width)
        written = np.array(ids, dtype=np.int64)[windows.positions_N]
        is_kept = np.ones(len(written), dtype=bool)
        if once != "never":
            is_kept = seen.new(windows.contexts_N, written if once == "token" else None)
        # What ends a turn is no text: a suspect with another template cannot be asked for it.
        is_kept &= ~np.isin(written, list(chat.control_ids))
        if only is not None:
            is_kept &= np.array([context in only for context in windows.contexts_N.tolist()], bool)
        windows = Windows(windows.positions_N[is_kept], windows.contexts_N[is_kept])
        if len(windows.positions_N):
            num_windows += len(windows.positions_N)
            kept.append(ScoredText(text.messages, text.completion, ids, windows, chat))
    return Corpus(tuple(kept), num_texts, num_tokens, num_windows)


def check_tokenizer(chat: ChatTokenizer, profile: Profile) -> None:
    """Refuse a tokenizer that the watermark does not use.

    Raises:
        VocabularyMismatchError: it is another.
    """
    if chat.vocabulary_sha256 != profile.tokenizer_sha256:
        raise VocabularyMismatchError(
            f"{chat.name} has the tokenizer {chat.vocabulary_sha256[:12]}, and the profile marks "
            f"with {profile.tokenizer_sha256[:12]}. Give the model that was marked, for its "
            "tokenizer: --tokenizer MODEL"
        )


def _examples(artifact: Artifact) -> list[Text]:
    return [
        Text(row.messages, row.completion, row.completion_token_ids)
        for row in artifact.rows("examples", Example)
    ]


def _completions(artifact: Artifact) -> list[Text]:
    prompts = {prompt.id: prompt.messages for prompt in artifact.rows("prompts", Prompt)}
    return [
        Text(prompts[row.prompt_id], row.text, row.logprobs.token_ids if row.logprobs else None)
        for row in artifact.rows("completions", Completion)
        if row.error is None and row.text
    ]
