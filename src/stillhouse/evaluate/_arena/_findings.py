"""What an arena that was held comes to: models, pairs, judge, verdict."""

from collections.abc import Sequence
from datetime import UTC, datetime

from stillhouse.errors import DataError
from stillhouse.evaluate._arena._answers import Entrant
from stillhouse.evaluate._arena._comparisons import Comparison, group_of
from stillhouse.evaluate._arena._config import ArenaConfig
from stillhouse.evaluate._arena._estimates import mean_estimate, share_estimate
from stillhouse.evaluate._arena._hold import Held, Judge, check_enough
from stillhouse.evaluate._arena._judge_result import judge_result
from stillhouse.evaluate._arena._partiality import partial_to
from stillhouse.evaluate._arena._ranking import Ranking, Scored, oriented, rank
from stillhouse.evaluate._arena._results import (
    ArenaExample,
    ArenaModel,
    ArenaResults,
    PairResult,
)
from stillhouse.evaluate._arena._summary import doubts, verdict_sentence
from stillhouse.records import Prompt

_EXAMPLE_RULE = (
    "the first pairs that were judged; the plan goes round all pairs of models, and takes prompts "
    "at random."
)


def findings(
    held: Held, judge: Judge, config: ArenaConfig, *, title: str, seconds: float
) -> ArenaResults:
    """Everything that the report says.

    Args:
        held: The arena.
        judge: Who judged it.
        config: How it was held.
        title: Heading of the report.
        seconds: Spent on it this time.

    Raises:
        DataError: too few verdicts for a ranking, or outcomes that never vary.
    """
    names = [entrant.name for entrant in held.entrants]
    counted = [one for one in held.comparisons if one.a_score is not None]
    _check_counted(counted, held)
    scored = [_scored(one, names) for one in counted]
    judged = rank(scored, margin=config.margin, seed=config.seed)
    at_equal_length, no_lengths = _at_equal_length(scored, config)
    models = _models(held, scored, judged, at_equal_length, config)
    pairs = _pairs(held.comparisons, names, judged, at_equal_length, config)
    trust = judge_result(held, judge, config)
    further = [
        *partial_to(held.entrants, held.specs, held.judgements),
        *_about_distance(judged),
        *no_lengths,
    ]
    num_prompts = len({one.pairing.prompt for one in counted})
    split = held.chosen.split
    return ArenaResults(
        title=title,
        verdict=verdict_sentence(models, pairs, num_prompts=num_prompts, split=split),
        warnings=doubts(models, pairs, trust, split=split, further=further),
        models=models,
        pairs=pairs,
        judge=trust,
        long_answer_wins=at_equal_length.long_answer_wins if at_equal_length else None,
        margin=config.margin,
        split=split,
        num_prompts=num_prompts,
        num_groups=len({one.group for one in scored}),
        num_planned=len(held.comparisons),
        num_possible=held.num_possible,
        examples=_examples(held, names, config.num_examples),
        example_rule=_EXAMPLE_RULE,
        created_utc=datetime.now(UTC),
        seconds=seconds,
    )


def _check_counted(counted: Sequence[Comparison], held: Held) -> None:
    check_enough([held.chosen.prompts[one.pairing.prompt] for one in counted])
    present = {place for one in counted for place in one.pairing[1:]}
    for place, entrant in enumerate(held.entrants):
        if place not in present:
            raise DataError(
                f"No verdict about {entrant.name} can be read, so that it cannot be ranked. Leave "
                "it out, or give another judge."
            )


def _scored(one: Comparison, names: Sequence[str]) -> Scored:
    assert one.a_score is not None
    return Scored(
        a=names[one.pairing.a],
        b=names[one.pairing.b],
        score=one.a_score,
        group=one.duel.group,
        a_chars=len(one.duel.a),
        b_chars=len(one.duel.b),
    )


def _at_equal_length(
    scored: Sequence[Scored], config: ArenaConfig
) -> tuple[Ranking | None, list[str]]:
    """The ranking at equal length, or a sentence on why there is none."""
    if not any(one.length_difference for one in scored):
        return None, []
    try:
        found = rank(scored, margin=config.margin, seed=config.seed, at_equal_length=True)
    except DataError as err:
        return None, [f"Length is not allowed for: it cannot be told from the models ({err})"]
    return found, []


def _about_distance(ranking: Ranking) -> list[str]:
    if not ranking.is_stretched:
        return []
    return [
        "Some models never took a point from others, so their distance has no upper end in the "
        "data; one imaginary prompt on which all tie keeps it finite."
    ]


def _models(
    held: Held,
    scored: Sequence[Scored],
    judged: Ranking,
    at_equal_length: Ranking | None,
    config: ArenaConfig,
) -> tuple[ArenaModel, ...]:
    entrants = {entrant.name: entrant for entrant in held.entrants}
    return tuple(
        _model(entrants[name], held.chosen.prompts, scored, judged, at_equal_length, config)
        for name in judged.names
    )


def _model(
    entrant: Entrant,
    prompts: Sequence[Prompt],
    scored: Sequence[Scored],
    judged: Ranking,
    at_equal_length: Ranking | None,
    config: ArenaConfig,
) -> ArenaModel:
    name = entrant.name
    own = [one for one in scored if name in (one.a, one.b)]
    return ArenaModel(
        name=name,
        teacher=entrant.teacher,
        answered_by=entrant.answered_by,
        num_answers=len(entrant.answers),
        num_missing=len(prompts) - len(entrant.answers),
        num_cut=sum(answer.is_cut for answer in entrant.answers.values()),
        answer_chars=mean_estimate(
            [len(answer.text) for answer in entrant.answers.values()],
            [group_of(prompts[place]) for place in entrant.answers],
            num_resamples=config.num_resamples,
            seed=config.seed,
        ),
        win_rate=share_estimate(
            [one.score if one.a == name else 1.0 - one.score for one in own],
            [one.group for one in own],
            seed=config.seed,
        ),
        standing=judged.standings[name],
        standing_equal_length=at_equal_length.standings[name] if at_equal_length else None,
        usage=entrant.artifact.manifest.usage,
    )


def _pairs(
    comparisons: Sequence[Comparison],
    names: Sequence[str],
    judged: Ranking,
    at_equal_length: Ranking | None,
    config: ArenaConfig,
) -> tuple[PairResult, ...]:
    by_pair: dict[frozenset[str], list[Comparison]] = {}
    for one in comparisons:
        by_pair.setdefault(frozenset((names[one.pairing.a], names[one.pairing.b])), []).append(one)
    return tuple(
        _pair(
            pair,
            by_pair.get(frozenset(pair), []),
            names,
            (judged, at_equal_length),
            seed=config.seed,
        )
        for pair in judged.contrasts
    )


def _pair(
    pair: tuple[str, str],
    comparisons: Sequence[Comparison],
    names: Sequence[str],
    rankings: tuple[Ranking, Ranking | None],
    *,
    seed: int,
) -> PairResult:
    a, b = pair
    judged, at_equal_length = rankings
    counted = [(one, one.a_score) for one in comparisons if one.a_score is not None]
    scores = [score if names[one.pairing.a] == a else 1.0 - score for one, score in counted]
    groups = [one.duel.group for one, _ in counted]
    return PairResult(
        a=a,
        b=b,
        a_wins=scores.count(1.0),
        b_wins=scores.count(0.0),
        ties=scores.count(0.5),
        num_identical=sum(one.outcome.basis == "identical" for one in comparisons),
        num_unreadable=len(comparisons) - len(counted),
        a_win_rate=share_estimate(scores, groups, seed=seed) if scores else None,
        contrast=judged.contrasts[pair],
        contrast_equal_length=oriented(at_equal_length, a, b) if at_equal_length else None,
    )


def _examples(held: Held, names: Sequence[str], wanted: int) -> tuple[ArenaExample, ...]:
    asked = [one for one in held.comparisons if one.outcome.basis != "identical"]
    return tuple(_example(one, held.chosen.prompts, names) for one in asked[:wanted])


def _example(one: Comparison, prompts: Sequence[Prompt], names: Sequence[str]) -> ArenaExample:
    prompt, outcome = prompts[one.pairing.prompt], one.outcome
    return ArenaExample(
        prompt_id=prompt.id,
        prompt=prompt.messages[-1].content,
        a=names[one.pairing.a],
        b=names[one.pairing.b],
        a_text=one.duel.a,
        b_text=one.duel.b,
        winner=outcome.winner,
        order_effect=outcome.order_effect,
        reason=outcome.a_first.text if outcome.a_first else "",
    )
