"""Which pairs of answers are judged: all of them, or an even part that links all models."""

import random
from collections.abc import Iterator, Sequence, Set
from itertools import combinations, islice, zip_longest
from typing import NamedTuple

from stillhouse.errors import ConfigError, DataError


class Pairing(NamedTuple):
    """Two models' answers to one prompt, by their places in the lists of models and prompts."""

    prompt: int
    a: int
    b: int


def plan_pairings(
    answered: Sequence[Set[int]], *, max_pairs: int | None = None, seed: int = 0
) -> list[Pairing]:
    """The pairs to judge, in a random order that goes round all pairs of models in turn.

    Cut anywhere, the list has all pairs of models about equally often, and each begins with other
    prompts: a part of it says as much as its size allows. What a smaller `max_pairs` gives is the
    beginning of what a larger one does.

    Args:
        answered: For each model the places of the prompts that it answered.
        max_pairs: Pairs at most; None takes all.
        seed: Of the order.

    Returns:
        Pairings with `a` below `b`.

    Raises:
        ConfigError: `max_pairs` is too few to link all models.
        DataError: there are models that no chain of prompts links, however many are judged.
    """
    pairings = list(islice(_in_turn(answered, random.Random(seed)), max_pairs))
    if not _is_linked(len(answered), pairings):
        if max_pairs is None:
            raise DataError(
                "Some models answered no prompt that any of the others did, so that they cannot be "
                "compared. Mend what failed, or leave them out."
            )
        raise ConfigError(
            f"max_pairs={max_pairs} does not link {len(answered)} models. Give at least "
            f"{len(answered) - 1}, and far more for a ranking."
        )
    return pairings


def _in_turn(answered: Sequence[Set[int]], generator: random.Random) -> Iterator[Pairing]:
    prompts = sorted(set().union(*answered))
    generator.shuffle(prompts)
    duels = _duels(generator.sample(range(len(answered)), len(answered)))
    queues = []
    for number, (a, b) in enumerate(duels):
        # Each pair of models begins elsewhere, so that the first rounds see many prompts.
        start = number * len(prompts) // len(duels)
        turned = (*prompts[start:], *prompts[:start])
        common = answered[a] & answered[b]
        queues.append([Pairing(prompt, a, b) for prompt in turned if prompt in common])
    for one_round in zip_longest(*queues):
        yield from (pairing for pairing in one_round if pairing is not None)


def _duels(models: Sequence[int]) -> list[tuple[int, int]]:
    """All pairs of models, a chain through all of them first."""
    places = combinations(range(len(models)), 2)
    ordered = sorted(places, key=lambda pair: pair[1] - pair[0])
    duels = ((models[one], models[other]) for one, other in ordered)
    return [(min(duel), max(duel)) for duel in duels]


def _is_linked(num_models: int, pairings: Sequence[Pairing]) -> bool:
    group = list(range(num_models))

    def find(model: int) -> int:
        while group[model] != model:
            group[model] = group[group[model]]
            model = group[model]
        return model

    for _, a, b in pairings:
        group[find(a)] = find(b)
    return len({find(model) for model in range(num_models)}) == 1
