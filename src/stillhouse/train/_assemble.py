"""Make the source and the guide that the settings name."""

import logging
from collections.abc import Mapping, Sequence

from stillhouse.artifacts import Artifact
from stillhouse.chat import ChatTokenizer
from stillhouse.errors import ConfigError
from stillhouse.models import StudentStart, locate_model
from stillhouse.signal import SignalReader, check_fingerprints
from stillhouse.train._adversarial import advantages
from stillhouse.train._batches import Schedule
from stillhouse.train._black_box import make_black_box
from stillhouse.train._config import TrainConfig
from stillhouse.train._contrast import ContrastedTexts, ContrastPairs
from stillhouse.train._cross import align_texts
from stillhouse.train._cross_guides import ChunkLikelihoods, ProjectedSignal
from stillhouse.train._guides import CapturedSignal, Guide, own_tokens
from stillhouse.train._lessons import Lesson
from stillhouse.train._live import (
    AveragedTeachers,
    LiveTeacher,
    RoutedTeachers,
    ScoredTokens,
    TeacherDistribution,
    open_any_teacher,
    open_live_teacher,
    route_of,
)
from stillhouse.train._match import HiddenMatch
from stillhouse.train._methods import OBJECTIVES
from stillhouse.train._on_policy import Rollouts
from stillhouse.train._preference import TeacherPreferred
from stillhouse.train._ranks import Ranks
from stillhouse.train._rollout_config import RolloutConfig
from stillhouse.train._rollouts import Drawer, StudentDrawer
from stillhouse.train._rows import TrainingRow, training_rows
from stillhouse.train._running_means import RunningMeans
from stillhouse.train._sources import Source, TeacherText
from stillhouse.train._speculative import SpeculativeDrawer
from stillhouse.train._student import Student
from stillhouse.train._uld import SortedDistributions

logger = logging.getLogger(__name__)

Teachers = Mapping[str, LiveTeacher]


def open_teachers(config: TrainConfig, chat: ChatTokenizer, *, num_student_ids: int) -> Teachers:
    """Load the teachers that are asked in every step; none where a signal or the text guides.

    Raises:
        ConfigError: one is not there, or several are where the method can use only one.
        VocabularyMismatchError: one reads text otherwise than the student.
    """
    if config.live is None or config.guide != "live":
        return {}
    what = _what_asks_one(config)
    if what is not None and len(config.live.teachers) > 1:
        raise ConfigError(
            f"{what} asks one teacher, but live.teachers names {len(config.live.teachers)}. "
            "Keep one of them."
        )
    if config.objective == "uld":
        return {name: open_any_teacher(spec) for name, spec in config.live.teachers.items()}
    return {
        name: open_live_teacher(spec, chat, num_student_ids=num_student_ids)
        for name, spec in config.live.teachers.items()
    }


def _what_asks_one(config: TrainConfig) -> str | None:
    """Which setting there can be only one teacher for."""
    if config.source == "speculative":
        return "source speculative"
    if config.match is not None:
        return "match"
    is_of_one = OBJECTIVES[config.objective].is_of_drawn_tokens
    return config.objective if is_of_one or config.objective in ("uld", "distillm2") else None


def shared_ids(config: TrainConfig, teachers: Teachers) -> int | None:
    """Ids that student and teachers know; None where nothing is to be cut."""
    if config.objective == "uld":
        return None
    return min((teacher.num_ids for teacher in teachers.values()), default=None)


def make_match(config: TrainConfig, student: Student, teachers: Teachers) -> HiddenMatch | None:
    """What brings hidden states to the teacher's, if it is asked for.

    Raises:
        ConfigError: a layer is not there.
    """
    if config.match is None:
        return None
    (teacher,) = teachers.values()
    return HiddenMatch(
        student.model.network,
        teacher.model.network,
        config.match,
        seed=config.seed,
        clip_norm=config.clip_norm,
    )


def teacher_revisions(config: TrainConfig) -> dict[str, str | None]:
    """What identifies the weights of the teachers that are asked, by where they are.

    Raises:
        ConfigError: one is not there.
    """
    specs = set(config.live.teachers.values()) if config.live and config.guide == "live" else set()
    if config.diagnose is not None and config.diagnose.teacher is not None:
        specs.add(config.diagnose.teacher)
    return {spec: locate_model(spec.removeprefix("local:")).revision for spec in sorted(specs)}


def make_guide(
    config: TrainConfig,
    teachers: Teachers,
    chat: ChatTokenizer,
    *,
    dataset: Artifact,
    signal: Artifact | None,
    groups: Sequence[str | None],
    rows: Sequence[TrainingRow],
) -> Guide:
    """Who says what the student should predict.

    Raises:
        VocabularyMismatchError: the signal is of another teacher, tokenizer or template.
        IntegrityError: the signal is of another dataset.
        ConfigError: a group of examples has no teacher.
    """
    if config.objective == "uld":
        (teacher,) = teachers.values()
        pairs = zip(training_rows(dataset, teacher.model.chat), rows, strict=True)
        return SortedDistributions(teacher, pairs, weight=config.cross.uld_weight)
    if config.live is not None and teachers:
        return _live_guide(config, teachers, groups)
    if config.source == "pairs":
        return TeacherPreferred(config.preference)
    if config.source == "rated":
        return advantages
    if signal is None:
        return own_tokens
    if config.is_cross:
        return _cross_guide(config, chat, rows, dataset=dataset, signal=signal)
    check_fingerprints(
        signal,
        dataset=dataset,
        vocabulary_sha256=chat.vocabulary_sha256,
        template_sha256=chat.template_sha256,
    )
    return CapturedSignal(SignalReader(signal))


def _cross_guide(
    config: TrainConfig,
    chat: ChatTokenizer,
    rows: Sequence[TrainingRow],
    *,
    dataset: Artifact,
    signal: Artifact,
) -> Guide:
    cross = config.cross
    texts = align_texts(cross, chat, rows, dataset=dataset, signal=signal)
    reader = SignalReader(signal)
    if config.objective == "alm":
        return ChunkLikelihoods(reader, texts, cross.tau)
    return ProjectedSignal(
        reader,
        texts,
        ids_per_token=cross.ids_per_token,
        learns_text=cross.unaligned == "text",
    )


def make_source(
    config: TrainConfig,
    texts: Sequence[Lesson],
    student: Student,
    teachers: Teachers,
    *,
    schedule: Schedule,
    longest: int,
) -> Source:
    """Whose texts are learnt from.

    Args:
        config: The settings.
        texts: The dataset's own.
        student: Draws rollouts.
        teachers: What `open_teachers` gave.
        schedule: Which texts come when.
        longest: Tokens that student and teachers can read.
    """
    if config.source == "dataset":
        return TeacherText(texts)
    warn_of_cold_start(config, student.start)
    if config.objective in ("preference", "adversarial"):
        return make_black_box(config, texts, student, schedule=schedule, longest=longest)
    num_ids = min(teacher.num_ids for teacher in teachers.values())
    draw: Drawer = StudentDrawer(student.model, num_ids=num_ids)
    if config.source == "speculative":
        (teacher,) = teachers.values()
        draw = SpeculativeDrawer(
            student.model,
            teacher,
            top_k=config.rollout.teacher_top_k,
            block_tokens=config.rollout.block_tokens,
        )
    share = config.rollout.on_policy_fraction if config.source == "mixed" else 1.0
    rollouts = Rollouts(texts, draw, schedule, config.rollout, share=share, longest=longest)
    if config.objective == "distillm2":
        return ContrastPairs(texts, rollouts, schedule, config.contrast)
    return rollouts


def warn_of_cold_start(config: TrainConfig, start: StudentStart) -> None:
    """Say so when a student that writes nothing sensible yet is to learn from what it writes."""
    has_warmup = config.source == "rated" and config.adversarial.warmup_epochs > 0
    if start != StudentStart() and not has_warmup:
        logger.warning(
            "source %s lets the student learn from its own texts, but it was cut from %r and has "
            "learnt nothing since: train it on source dataset first, then give its folder as base.",
            config.source,
            config.base,
        )


def check_can_draw(config: TrainConfig, ranks: Ranks) -> None:
    """Refuse rollouts where the weights are not at hand to draw them.

    Raises:
        ConfigError: several processes share the student, or it is on a GPU.
    """
    is_live = config.source != "dataset" or config.guide == "live"
    if is_live and (ranks.size > 1 or ranks.device.type != "cpu"):
        raise ConfigError(
            f"source {config.source} with a {config.guide} guide runs in one process on the CPU, "
            f"and this is {ranks.size} on {ranks.device.type}. Set device.kind to cpu and start "
            "one, or use source dataset with a captured signal."
        )


def _live_guide(config: TrainConfig, teachers: Teachers, groups: Sequence[str | None]) -> Guide:
    assert config.live is not None
    first = next(iter(teachers.values()))
    if OBJECTIVES[config.objective].is_of_drawn_tokens:
        return _scored_tokens(first, config.rollout)
    if config.objective == "distillm2":
        return ContrastedTexts(first, config.contrast)
    if routes := config.live.routes:
        for group in groups:
            route_of(group, routes)
        return RoutedTeachers(teachers, routes)
    if len(teachers) == 1:
        return TeacherDistribution(first)
    return AveragedTeachers(teachers, config.live.weights or dict.fromkeys(teachers, 1.0))


def _scored_tokens(teacher: LiveTeacher, config: RolloutConfig) -> ScoredTokens:
    has_baseline = config.baseline == "position"
    baseline = RunningMeans("baseline/cost", config.max_tokens) if has_baseline else None
    return ScoredTokens(teacher, future_discount=config.future_discount, baseline=baseline)
