"""What can be had of a suspect: its distributions over given texts, or only what it wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stillhouse.artifacts import Artifact, read_manifest
from stillhouse.errors import ConfigError, DataError, VocabularyMismatchError
from stillhouse.protect._results import RadioactivityConfig, StatisticName, TextCounts
from stillhouse.protect._texts import (
    TEXT_KINDS,
    Corpus,
    Once,
    Text,
    check_tokenizer,
    open_texts,
    score_windows,
)
from stillhouse.protect._weights import WeightedTokens
from stillhouse.protect._written import less_expected, written
from stillhouse.runlog import Listener
from stillhouse.watermark import Profile

if TYPE_CHECKING:
    from stillhouse.chat import ChatTokenizer
    from stillhouse.models import LanguageModel


@dataclass(frozen=True)
class Inputs:
    """What a test reads.

    Attributes:
        suspect: A model, or a folder of what it wrote.
        texts: A dataset or completions: for a model what it reads, for answers the marked texts
            whose contexts count; may be None for answers.
        reference: A model that cannot have seen marked text; None for none.
        tokenizer: The model that was marked, for its tokenizer; None where the suspect or the
            reference has the same.
        customers: Names whose derived keys are tried beside the profile's own, all corrected by
            Holm.
    """

    suspect: str
    texts: Path | None
    reference: str | None = None
    tokenizer: str | None = None
    customers: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the suspect is a model, rather than a folder of answers."""
        folder = Path(self.suspect)
        if not (folder / "manifest.json").is_file():
            return True
        return read_manifest(folder).kind not in TEXT_KINDS


@dataclass(frozen=True)
class Observed:
    """A suspect, ready to be tested under any key.

    Attributes:
        suspect: Its name.
        reference: That of what it is compared with, if anything.
        access: How it was observed.
        primary: The statistic that decides.
        statistics: All that can be computed.
        marked: The tokens of the owner's texts that count; None without texts.
        counts: What it was observed on.
        shared_share: Mean probability on tokens of the watermark's vocabulary.
        parents: The artefacts that were read.
        fingerprints: Of the models and artefacts, by name.
    """

    suspect: str
    reference: str | None
    access: Literal["open", "closed"]
    primary: StatisticName
    statistics: Mapping[StatisticName, WeightedTokens]
    marked: WeightedTokens | None
    counts: TextCounts
    shared_share: float
    parents: tuple[Artifact, ...]
    fingerprints: Mapping[str, str]


def observe(
    inputs: Inputs, profile: Profile, config: RadioactivityConfig, on_progress: Listener
) -> Observed:
    """Read the suspect; see `find_radioactivity` for what is raised."""
    if inputs.is_open:
        return _observe_model(inputs, profile, config, on_progress)
    return _observe_answers(inputs, profile, config, on_progress)


def _observe_model(
    inputs: Inputs, profile: Profile, config: RadioactivityConfig, on_progress: Listener
) -> Observed:
    from stillhouse.models import load_model
    from stillhouse.protect._reading import read_texts

    if inputs.texts is None:
        raise ConfigError(
            f"{inputs.suspect} is a model, and there is nothing for it to read. Give the marked "
            "texts: --texts DATASET"
        )
    artifact, texts = open_texts(inputs.texts)
    suspect = load_model(inputs.suspect)
    _refuse_author(artifact, suspect)
    reference = None if inputs.reference is None else load_model(inputs.reference)
    chat = _watermark_chat(inputs, profile, [suspect, reference])
    corpus = _corpus(artifact, texts, chat, profile, config)
    reading = read_texts(suspect, reference, corpus.texts, chat, on_progress=on_progress)
    statistics: dict[StatisticName, WeightedTokens] = {}
    if reading.contrast is not None and reading.roots is not None:
        statistics |= {"contrast": reading.contrast, "root contrast": reading.roots}
    statistics |= {"soft": reading.soft, "argmax": reading.argmax}
    return Observed(
        suspect=suspect.name,
        reference=None if reference is None else reference.name,
        access="open",
        primary="soft" if reference is None else config.contrast,
        statistics=statistics,
        marked=written(corpus.texts),
        counts=_counts(corpus, len(reading.soft)),
        shared_share=reading.shared_share,
        parents=(artifact,),
        fingerprints=_fingerprints({"suspect": suspect, "reference": reference}, (artifact,)),
    )


def _observe_answers(
    inputs: Inputs, profile: Profile, config: RadioactivityConfig, on_progress: Listener
) -> Observed:
    from stillhouse.models import load_model

    folder = Path(inputs.suspect)
    answers, answered = open_texts(folder)
    reference = None if inputs.reference is None else load_model(inputs.reference)
    chat = _watermark_chat(inputs, profile, [reference])
    parents: tuple[Artifact, ...] = (answers,)
    marked, only = None, None
    if inputs.texts is not None:
        artifact, texts = open_texts(inputs.texts)
        parents = (answers, artifact)
        known = _corpus(artifact, texts, chat, profile, config)
        marked = written(known.texts)
        only = frozenset(marked.contexts_N.tolist())
    corpus = _corpus(answers, answered, chat, profile, config, only=only, once="token")
    tokens = written(corpus.texts)
    statistics: dict[StatisticName, WeightedTokens] = {"written": tokens}
    if reference is not None:
        from stillhouse.protect._reading import read_texts

        check_tokenizer(reference.chat, profile)
        # Every time that a context came counts, and what belongs together is added up.
        whole = _corpus(answers, answered, chat, profile, config, only=only, once="never")
        read = read_texts(reference, None, whole.texts, chat, on_progress=on_progress)
        contrast = less_expected(written(whole.texts), read.soft)
        statistics = {"written less expected": contrast, **statistics}
    return Observed(
        suspect=folder.resolve().name,
        reference=None if reference is None else reference.name,
        access="closed",
        primary=next(iter(statistics)),
        statistics=statistics,
        marked=marked,
        counts=_counts(corpus, len(tokens)),
        shared_share=1.0,
        parents=parents,
        fingerprints=_fingerprints({"reference": reference}, parents),
    )


def _fingerprints(
    models: Mapping[str, "LanguageModel | None"], parents: Sequence[Artifact]
) -> dict[str, str]:
    found = {
        f"weights of the {role}": model.revision
        for role, model in models.items()
        if model is not None and model.revision is not None
    }
    return found | {f"manifest of {one.path.name}": one.manifest_sha256 for one in parents}


def _corpus(
    artifact: Artifact,
    texts: Sequence[Text],
    chat: "ChatTokenizer",
    profile: Profile,
    config: RadioactivityConfig,
    *,
    only: frozenset[int] | None = None,
    once: Once = "context",
) -> Corpus:
    tokenizer = artifact.manifest.tokenizer
    corpus = score_windows(
        texts,
        chat,
        profile,
        max_contexts=config.max_contexts,
        has_own_tokens=tokenizer is not None and tokenizer.sha256 == profile.tokenizer_sha256,
        only=only,
        once=once,
    )
    if not corpus.texts:
        within = "" if only is None else " that the marked texts hold too"
        raise DataError(
            f"{artifact.path} has {corpus.num_texts} texts of {corpus.num_tokens} tokens, and none "
            f"after a new context of {profile.context_width} tokens{within}. Give longer or other "
            "texts; refusals and repetitions carry no evidence."
        )
    return corpus


def _counts(corpus: Corpus, num_contexts: int) -> TextCounts:
    return TextCounts(
        texts=corpus.num_texts,
        tokens=corpus.num_tokens,
        windows=corpus.num_windows,
        contexts=num_contexts,
    )


def _watermark_chat(
    inputs: Inputs, profile: Profile, models: Sequence["LanguageModel | None"]
) -> "ChatTokenizer":
    """The tokenizer that was marked: of the model that was named, or of one that is at hand."""
    from stillhouse.models import load_chat, locate_model

    if inputs.tokenizer is not None:
        chat = load_chat(locate_model(inputs.tokenizer))
        check_tokenizer(chat, profile)
        return chat
    chats = [model.chat for model in models if model is not None]
    for chat in chats:
        if chat.vocabulary_sha256 == profile.tokenizer_sha256:
            return chat
    if chats:
        check_tokenizer(chats[0], profile)
    raise VocabularyMismatchError(
        f"The profile marks tokens of the tokenizer {profile.tokenizer_sha256[:12]}, which no "
        "model here has. Give the model that was marked: --tokenizer MODEL"
    )


def _refuse_author(artifact: Artifact, suspect: "LanguageModel") -> None:
    teacher = artifact.manifest.teacher
    if teacher is None or suspect.revision is None or teacher.revision != suspect.revision:
        return
    raise ConfigError(
        f"{suspect.name} is the model that wrote {artifact.path}: marks are put into what it says "
        "and not into its weights, so there is nothing to find. Give the suspect."
    )
