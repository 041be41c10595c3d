"""The source of texts that the student draws itself, kept for some steps."""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.train._batches import Schedule
from stillhouse.train._lessons import Lesson, with_weight
from stillhouse.train._rollout_config import RolloutConfig
from stillhouse.train._rollouts import Draft, Drawer, Rollout, seed_of

_NO_WINDOW = -1


class Rollouts:
    """Rollouts for all of each batch, or for a share of it beside the dataset's own texts.

    The rollouts of `refresh_steps` steps are drawn together, from the student as it is before the
    first of these steps. What is drawn depends on the seed, that step, the example and the
    weights; since those weights are gone when a run is resumed, the buffer is a part of its state.

    Args:
        texts: The dataset's own texts as lessons, in the order that indices mean.
        draw: Draws the texts.
        schedule: Which examples come, to draw those of coming steps together.
        config: How many, how long, what becomes of those that were cut.
        share: Of rollouts in a batch, 1 for nothing else.
        longest: Tokens of prompt and completion together that student and teacher can read.
    """

    def __init__(
        self,
        texts: Sequence[Lesson],
        draw: Drawer,
        schedule: Schedule,
        config: RolloutConfig,
        *,
        share: float,
        longest: int,
    ) -> None:
        self._texts = texts
        self._draw = draw
        self._schedule = schedule
        self._config = config
        self._share = share
        self._longest = longest
        self._window = _NO_WINDOW
        self._buffer: dict[int, Rollout] = {}
        self._metrics: dict[str, float] = {}

    def lessons(self, step: int, indices: Sequence[int]) -> list[Lesson]:
        """The lessons of a step, drawing new rollouts where it is time to.

        Raises:
            DataError: all of a step's rollouts were cut, and such ones are dropped.
        """
        started_s = time.monotonic()
        window = step - step % self._config.refresh_steps
        if window != self._window:
            self._refill(window, indices)
        own = set(self._own(step, indices))
        made = [
            self._lesson(index, step) if index in own else self._texts[index] for index in indices
        ]
        self._metrics = {
            **_metrics([self._buffer[index] for index in indices if index in own], len(indices)),
            "train/rollout_age_steps": step - window,
            "time/rollouts_s": time.monotonic() - started_s,
        }
        return with_weight(made, step, max_tokens=self._config.max_tokens)

    def update(self, step: int) -> None:
        """Nothing here learns."""

    def state(self) -> dict[str, Tensor]:
        """The buffer, and the step that it was drawn at."""
        rollouts = list(self._buffer.values())
        logprobs = [one.logprobs for one in rollouts if one.logprobs is not None]
        return {
            "rollouts/window": torch.tensor([self._window]),
            "rollouts/index": torch.tensor(list(self._buffer), dtype=torch.long),
            "rollouts/length": torch.tensor([len(one.ids) for one in rollouts], dtype=torch.long),
            "rollouts/ids": torch.tensor(
                [token for one in rollouts for token in one.ids], dtype=torch.long
            ),
            "rollouts/logprobs": torch.from_numpy(
                np.concatenate([np.zeros(0, dtype=np.float32), *logprobs])
            ),
            "rollouts/is_truncated": torch.tensor(
                [one.is_truncated for one in rollouts], dtype=torch.bool
            ),
            "rollouts/num_replaced": torch.tensor(
                [one.num_replaced for one in rollouts], dtype=torch.long
            ),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the buffer of a checkpoint over."""
        self._window = int(state["rollouts/window"])
        lengths = state["rollouts/length"].tolist()
        ids = state["rollouts/ids"].split(lengths)
        has_logprobs = len(state["rollouts/logprobs"]) == sum(lengths)
        logprobs = state["rollouts/logprobs"].split(lengths) if has_logprobs else ()
        self._buffer = {
            index: Rollout(
                ids=tuple(ids[row].tolist()),
                logprobs=logprobs[row].numpy() if logprobs else None,
                is_truncated=bool(state["rollouts/is_truncated"][row]),
                num_replaced=int(state["rollouts/num_replaced"][row]),
            )
            for row, index in enumerate(state["rollouts/index"].tolist())
        }

    def metrics(self) -> dict[str, float]:
        """What the last step's rollouts were like, and the time that they took."""
        return self._metrics

    def _refill(self, window: int, indices: Sequence[int]) -> None:
        """Draw what the steps from `window` on will need, the first of which is of `indices`."""
        steps: Iterable[tuple[int, Sequence[int]]] = [(window, indices)]
        if self._config.refresh_steps > 1:
            steps = islice(self._schedule.steps(window), self._config.refresh_steps)
        wanted = sorted({index for step, batch in steps for index in self._own(step, batch)})
        rollouts = self._draw([self._draft(index, window) for index in wanted])
        self._buffer = dict(zip(wanted, rollouts, strict=True))
        self._window = window

    def _own(self, step: int, indices: Sequence[int]) -> list[int]:
        """Those of a batch that get a rollout; chance rounds their number."""
        if self._share >= 1.0:
            return list(indices)
        seed = seed_of(self._schedule.seed, "share", step)
        rng = np.random.Generator(np.random.Philox(seed))
        number = int(self._share * len(indices) + rng.random())
        return [indices[place] for place in rng.permutation(len(indices))[:number]]

    def _draft(self, index: int, window: int) -> Draft:
        example = self._texts[index].example
        return Draft(
            prompt_ids=example.ids[: example.num_prompt],
            max_tokens=min(self._config.max_tokens, self._longest - example.num_prompt),
            seed=seed_of(self._schedule.seed, "rollout", window, index),
        )

    def _lesson(self, index: int, step: int) -> Lesson:
        rollout, text = self._buffer[index], self._texts[index]
        num_prompt = text.example.num_prompt
        weight = self._config.truncated_weight if rollout.is_truncated else 1.0
        return Lesson(
            EncodedExample((*text.example.ids[:num_prompt], *rollout.ids), num_prompt),
            weight=weight * text.weight,
            behaviour_logprobs=rollout.logprobs,
            is_truncated=rollout.is_truncated,
            age_steps=step - self._window,
            group=text.group,
        )


def _metrics(rollouts: Sequence[Rollout], num_lessons: int) -> dict[str, float]:
    metrics = {"train/rollout_fraction": len(rollouts) / num_lessons}
    if rollouts:
        num_tokens = sum(len(one.ids) for one in rollouts)
        metrics["train/rollout_mean_tokens"] = num_tokens / len(rollouts)
        num_cut = sum(one.is_truncated for one in rollouts)
        metrics["train/truncated_fraction"] = num_cut / len(rollouts)
        if rollouts[0].logprobs is None:
            num_replaced = sum(one.num_replaced for one in rollouts)
            metrics["train/replaced_fraction"] = num_replaced / num_tokens
    return metrics
