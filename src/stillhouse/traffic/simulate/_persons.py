"""Who sends what in simulated traffic: people, applications, and those who extract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stillhouse.errors import DataError
from stillhouse.traffic.simulate._frames import Manner, Phrases


@dataclass(frozen=True)
class Area:
    """Prompts of one kind: a data set, or one category of it.

    Attributes:
        source: Data set.
        texts: Prompts.
    """

    source: str
    texts: Sequence[str]


class Pool:
    """Prompts by area, each used once before any is used again."""

    def __init__(self, areas: Mapping[str, Area], rng: np.random.Generator) -> None:
        if not areas or not all(area.texts for area in areas.values()):
            raise DataError("There is an area without prompts, or none at all. Give prompts.")
        self.areas, self._rng = areas, rng
        self.names = sorted(areas)
        self.by_source: dict[str, list[str]] = {}
        for name in self.names:
            self.by_source.setdefault(areas[name].source, []).append(name)
        self.sources = sorted(self.by_source)
        sizes = [sum(len(areas[name].texts) for name in self.by_source[s]) for s in self.sources]
        # Small sets would come again and again if all were as likely.
        self._source_odds = np.array(sizes, float) ** 0.7 / (np.array(sizes, float) ** 0.7).sum()
        self._left: dict[str, list[int]] = {name: [] for name in self.names}

    def draw(self, area: str) -> str:
        """The next prompt of an area."""
        left = self._left[area]
        if not left:
            left.extend(self._rng.permutation(len(self.areas[area].texts)).tolist())
        return self.areas[area].texts[left.pop()]

    def some_sources(self, num: int) -> list[str]:
        """Different sources, larger ones more often."""
        num = min(num, len(self.sources))
        return [str(s) for s in self._rng.choice(self.sources, num, False, self._source_odds)]


@dataclass(frozen=True)
class Task:
    """What one sender asks again and again.

    Attributes:
        areas: What about.
        frames: In which frame; one is drawn for each request.
        weight: How often, beside the sender's other tasks.
        logprobs: Share of requests that ask for log-probabilities.
        completion_tokens: Median length of answers.
    """

    areas: Sequence[str]
    frames: Sequence[str]
    weight: float = 1.0
    logprobs: float = 0.0
    completion_tokens: float = 250.0


@dataclass(frozen=True)
class Person:
    """A sender of requests.

    Attributes:
        kind: What they are, the label.
        tasks: What they ask.
        is_machine: Whether requests come at all hours.
    """

    kind: str
    tasks: Sequence[Task]
    is_machine: bool = False


@dataclass
class Cast:
    """Makes benign senders of one half.

    Attributes:
        shares: Of kinds: `person` asks about many things in no frame, `application` has one to
            three tasks in frames of its own or of a public framework, `learner` asks for steps,
            `reseller` passes on what many people ask, `tester` runs a few data sets through one
            frame, half of them with the words of extraction.
    """

    pool: Pool
    phrases: Phrases
    rng: np.random.Generator
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "person": 0.39,
            "application": 0.5,
            "learner": 0.07,
            "reseller": 0.03,
            "tester": 0.01,
        }
    )

    def one(self) -> Person:
        """A benign sender."""
        kinds = list(self.shares)
        odds = np.array(list(self.shares.values()), float)
        return self.of_kind(kinds[int(self.rng.choice(len(kinds), p=odds / odds.sum()))])

    def of_kind(self, kind: str) -> Person:
        """A benign sender of a kind."""
        makers = {
            "person": self._person,
            "application": self._application,
            "learner": self._learner,
            "reseller": self._reseller,
            "tester": self._tester,
        }
        return makers[kind]()

    def _areas(self, source: str, most: int) -> list[str]:
        names = self.pool.by_source[source]
        num = int(self.rng.integers(1, min(most, len(names)) + 1))
        return [str(name) for name in self.rng.choice(names, num, replace=False)]

    def _person(self) -> Person:
        sources = self.pool.some_sources(int(self.rng.integers(1, 5)))
        # Most of what a person asks is about one or two things.
        weights = self.rng.dirichlet(np.full(len(sources), 0.6))
        tasks = [
            Task(self._areas(source, 6), self.phrases.habits, float(weight))
            for source, weight in zip(sources, weights, strict=True)
        ]
        if self.rng.random() < 0.15:
            tasks.append(Task(tasks[0].areas, self.phrases.lessons, 0.1, 0.0, 400.0))
        return Person("person", tasks)

    def _application(self) -> Person:
        sources = self.pool.some_sources(int(self.rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])))
        shared = self.rng.random() < 0.3
        logprobs = 0.9 if self.rng.random() < 0.05 else 0.0
        tasks = []
        for source in sources:
            frames = [self.phrases.application(self.rng)]
            if shared:
                frames = [str(self.rng.choice(self.phrases.wrappers))]
            length = float(np.exp(self.rng.normal(4.6, 1.0)))
            weight = float(self.rng.gamma(1.0))
            tasks.append(Task(self._areas(source, 12), frames, weight, logprobs, length))
        return Person("application", tasks, is_machine=self.rng.random() < 0.5)

    def _learner(self) -> Person:
        source = self.pool.some_sources(1)[0]
        areas = self._areas(source, 8)
        frames = self.phrases.lessons[: 1 + int(self.rng.integers(len(self.phrases.lessons)))]
        share = float(self.rng.uniform(0.1, 0.7))
        return Person(
            "learner",
            [
                Task(areas, frames, share, 0.0, 400.0),
                Task(areas, self.phrases.habits, 1 - share, 0.0, 250.0),
            ],
        )

    def _reseller(self) -> Person:
        tasks = [task for _ in range(12) for task in self._person().tasks]
        tasks += [task for _ in range(3) for task in self._application().tasks]
        tasks += [task for _ in range(1) for task in self._learner().tasks]
        return Person("reseller", tasks, is_machine=True)

    def _tester(self) -> Person:
        sources = self.pool.some_sources(int(self.rng.integers(2, 4)))
        frame = self.phrases.application(self.rng)
        if self.rng.random() < 0.5:
            frame = str(self.rng.choice(self.phrases.lessons))
        logprobs = 0.9 if self.rng.random() < 0.3 else 0.0
        areas = [area for source in sources for area in self._areas(source, 20)]
        return Person("tester", [Task(areas, [frame], 1.0, logprobs, 250.0)], is_machine=True)


def extractor(
    pool: Pool, phrases: Phrases, rng: np.random.Generator, manner: Manner = "open"
) -> Person:
    """Who sweeps all areas with a few frames; the tasks are one campaign's."""
    frames = [phrases.extraction(rng, manner) for _ in range(int(rng.integers(3, 7)))]
    logprobs = 0.5 if rng.random() < 0.3 else 0.0
    length = float(np.exp(rng.normal(5.9, 0.4)))
    # Each source as often as another: what is wanted is breadth, not what people ask.
    tasks = [Task(names, frames, 1.0, logprobs, length) for names in pool.by_source.values()]
    return Person("extractor", tasks, is_machine=True)
