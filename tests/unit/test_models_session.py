"""Generation that requests join and leave: the same draws as in a batch that began together."""

from pathlib import Path

import numpy as np
import pytest
import small_models

from stillhouse.errors import ConfigError
from stillhouse.models import Generated, GenerationJob, GenerationSession, LanguageModel, generate

END_IDS = [2, *range(300, 330)]


@pytest.fixture(scope="module")
def ending(tiny_folder: Path) -> LanguageModel:
    """A model that ends its completions soon, each at its own length."""
    return small_models.make(small_models.llama(), tiny_folder, end_of_turn_ids=END_IDS)


def jobs(number: int) -> list[GenerationJob]:
    rng = np.random.default_rng(3)
    return [
        GenerationJob(
            key=f"job-{index}",
            prompt_ids=tuple(rng.integers(3, 300, 3 + (5 * index) % 17).tolist()),
            max_tokens=14 + index % 5,
            temperature=0.8 * (index % 2),
            seed=index,
            top_logprobs=3,
        )
        for index in range(number)
    ]


def together(model: LanguageModel, todo: list[GenerationJob]) -> dict[str, Generated]:
    left = list(todo)

    def pull(limit: int) -> list[GenerationJob]:
        taken, left[:] = left[:limit], left[limit:]
        return taken

    return {done.key: done for group in generate(model, pull) for done in group}


def test_jobs_that_join_one_by_one_get_what_a_batch_gets(ending: LanguageModel) -> None:
    todo = jobs(9)
    expected = together(ending, todo)
    session = GenerationSession(ending, max_slots=3)
    got: dict[str, Generated] = {}
    tokens: dict[str, list[int]] = {}
    left = list(todo)
    while left or not session.is_idle:
        if left:
            session.add(left.pop(0))
        new, finished = session.step()
        for token in new:
            tokens.setdefault(token.key, []).append(token.token_id)
        got.update({done.key: done for done in finished})
        assert session.num_running <= 3
    assert got.keys() == expected.keys()
    for key, done in got.items():
        assert done.ids.tolist() == expected[key].ids.tolist() == tokens[key]
        assert np.allclose(done.top_logprobs, expected[key].top_logprobs, atol=1e-4)


def test_a_dropped_job_ends_and_leaves_its_neighbours_as_they_were(ending: LanguageModel) -> None:
    todo = jobs(5)
    expected = together(ending, todo)
    session = GenerationSession(ending, max_slots=4)
    for job in todo:
        session.add(job)
    session.step()
    session.drop("job-0")  # runs, in the first slot
    session.drop("job-4")  # waits
    session.drop("nobody")
    got = {}
    while not session.is_idle:
        got.update({done.key: done.ids.tolist() for done in session.step()[1]})
    already = {key for key in ("job-0", "job-4") if key in got}
    assert not already
    for key, ids in got.items():
        assert ids == expected[key].ids.tolist()


def test_a_job_longer_than_the_context_is_refused_before_it_waits(ending: LanguageModel) -> None:
    session = GenerationSession(ending)
    with pytest.raises(ConfigError, match="tokens in all"):
        session.add(GenerationJob(key="long", prompt_ids=(5,), max_tokens=10**6))
    assert session.is_idle
