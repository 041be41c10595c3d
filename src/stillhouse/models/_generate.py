"""Generate many completions at once, with the distributions seen on the way.

Running completions fill the first slots of a static cache. A finished one is replaced by the last
running one, so no step computes a row that is done; when enough slots are free, new prompts are
read in together, sorted by length. The head sees last positions only. What a row produces depends
on its own seed and not on its neighbours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.models._constrained import Constraint, Grammar
from stillhouse.models._constrained_draw import draw_within
from stillhouse.models._hidden import output_head
from stillhouse.models._load import LanguageModel
from stillhouse.models._masks import attention_masks, mask_obstacle
from stillhouse.models._prefix import shared_prefix
from stillhouse.models._slots import SlotCache
from stillhouse.watermark import LogitsMark

MAX_SLOTS = 128
"""Rows of a step. On two cores 128 is within 3 % of 256 and halves the cache."""

CACHE_BYTES = 2 << 30
"""Keys and values of all slots. Not tuned: what a machine with 8 GB can spare beside a model."""

_PREFILL_ROWS = 32  # together with the tokens: bounds padding and activations of reading prompts in
_PREFILL_TOKENS = 8_192
_REFILL_FRACTION = 0.25  # of the slots must be free before prompts are read in


@dataclass(frozen=True)
class GenerationJob:
    """One completion to generate.

    Attributes:
        key: The caller's name for it.
        prompt_ids: The rendered prompt.
        max_tokens: At most so many tokens, the end-of-turn token included.
        temperature: 0 is greedy.
        top_p: Nucleus mass, 1 for all.
        seed: All randomness of this completion comes from here.
        top_logprobs: How many log-probabilities to keep per token.
        grammar: What the completion must be; None for any text. It is kept to whatever the
            temperature is, and cut by `max_tokens` like any completion.
        mark: Chooses each token, or changes what it is drawn from, after all else; None does not.
    """

    key: str
    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    top_logprobs: int = 0
    grammar: Grammar | None = None
    mark: LogitsMark | None = None


@dataclass(frozen=True)
class Generated:
    """A finished completion of n tokens.

    Attributes:
        key: The job's.
        ids: (n,) int64, with the end-of-turn token if the model produced it.
        logprobs: (n,) float32, of those tokens at temperature 1, nats, without any grammar.
        top_ids: (n, K) int64, most likely first.
        top_logprobs: (n, K) float32 at temperature 1, never renormalised.
    """

    key: str
    ids: npt.NDArray[np.int64]
    logprobs: npt.NDArray[np.float32]
    top_ids: npt.NDArray[np.int64]
    top_logprobs: npt.NDArray[np.float32]


@dataclass
class Row:
    """A completion under way."""

    job: GenerationJob
    uniforms: npt.NDArray[np.float64]
    constraint: Constraint | None
    began_s: float
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top_ids: list[npt.NDArray[np.int64]] = field(default_factory=list)
    top_logprobs: list[npt.NDArray[np.float32]] = field(default_factory=list)

    @property
    def cached(self) -> int:
        """Tokens in the cache: all but the one drawn last."""
        return len(self.job.prompt_ids) + len(self.ids) - 1

    def finished(self) -> Generated:
        """What it has come to."""
        return Generated(
            key=self.job.key,
            ids=np.array(self.ids, dtype=np.int64),
            logprobs=np.array(self.logprobs, dtype=np.float32),
            top_ids=np.stack(self.top_ids),
            top_logprobs=np.stack(self.top_logprobs),
        )


def generate(
    model: LanguageModel,
    pull: Callable[[int], list[GenerationJob]],
    *,
    max_slots: int = MAX_SLOTS,
    cache_bytes: int = CACHE_BYTES,
    num_ids: int | None = None,
) -> Iterator[list[Generated]]:
    """Complete every job that `pull` hands out.

    Args:
        model: What generates.
        pull: `pull(n)` gives up to n jobs; an empty list means there are no more.
        max_slots: Completions that run at once.
        cache_bytes: What the cache may take. Long jobs leave fewer slots, down to one, and wait
            until enough others have ended.
        num_ids: Draw from the first so many ids alone, where those after them are padding; None
            for all.

    Yields:
        The completions that ended in one step, in no particular order.

    Raises:
        ConfigError: a job has no prompt or is longer than the model's context.
    """
    engine = Engine(model, max_slots, cache_bytes, num_ids)
    while True:
        finished = engine.refill(pull)
        if finished:
            yield finished
        if not engine.rows:
            if engine.is_exhausted:
                return
            continue
        if finished := engine.step():
            yield finished


def kv_cache_bytes_per_token(model: LanguageModel) -> int:
    """Bytes of keys and values that one token of one sequence takes, in float32."""
    config = model.network.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    return 2 * 4 * model.num_layers * int(heads) * int(head_dim)


class Engine:
    """Runs jobs in the slots of one cache; `generate` and `GenerationSession` drive it."""

    def __init__(
        self,
        model: LanguageModel,
        max_slots: int,
        cache_bytes: int,
        num_ids: int | None,
        on_token: Callable[[Row], None] | None = None,
    ) -> None:
        config = model.network.config.get_text_config()
        if obstacle := mask_obstacle(config):
            raise ConfigError(
                f"A {config.model_type} model with {obstacle} cannot generate in batches here. "
                "Serve it behind an endpoint and use http://HOST/v1#MODEL."
            )
        self._bytes_per_token = kv_cache_bytes_per_token(model)
        self._max_slots = max_slots
        self._cache_bytes = cache_bytes
        self._slots = max_slots
        self._context_tokens = model.context_tokens
        self._decoder = model.network.get_decoder()
        self._head_VD = output_head(model.network)[:num_ids]
        self._ends = set(model.chat.end_of_turn_ids)
        self._config = config
        self.cache = SlotCache(num_layers=model.num_layers)
        self._waiting: list[GenerationJob] = []
        self._on_token = on_token
        self.rows: list[Row] = []
        self.is_exhausted = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self.rows and not self._waiting

    def refill(self, pull: Callable[[int], list[GenerationJob]]) -> list[Generated]:
        """Read new prompts in when enough slots are free; some may end with their first token."""
        free = self._slots - len(self.rows)
        if self.rows and free < max(1, int(self._slots * _REFILL_FRACTION)):
            return []
        if not self._waiting and not self.is_exhausted:
            jobs = pull(free)
            self.is_exhausted = not jobs
            for job in jobs:
                self.check(job)
            self._waiting = sorted(jobs, key=_tokens)
        return self.read_waiting()

    def read_waiting(self) -> list[Generated]:
        """Read in what waits and has room; some may end with their first token."""
        for group in _prefill_groups(self._admit()):
            self._prefill(group)
        return self._retire()

    def wait(self, job: GenerationJob) -> None:
        """Have a job read in after those that wait already."""
        self._waiting.append(job)

    def drop(self, key: str) -> None:
        """Forget a job, wherever it is; nothing happens where it has ended."""
        self._waiting = [job for job in self._waiting if job.key != key]
        for index, row in enumerate(self.rows):
            if row.job.key == key:
                self._remove(index)
                return

    @torch.inference_mode()
    def step(self) -> list[Generated]:
        """Draw one more token for every running row."""
        lengths_A = torch.tensor([row.cached for row in self.rows])
        ids_A1 = torch.tensor([[row.ids[-1]] for row in self.rows])
        self.cache.begin_step(lengths_A)
        hidden_A1D = self._decoder(
            input_ids=ids_A1,
            position_ids=lengths_A.unsqueeze(1),
            attention_mask=attention_masks(self._config, lengths_A.unsqueeze(1), self.cache.width),
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        self._append(self.rows, hidden_A1D[:, 0])
        return self._retire()

    @torch.inference_mode()
    def _prefill(self, jobs: list[GenerationJob]) -> None:
        began_s = monotonic()
        width = max(len(job.prompt_ids) for job in jobs)
        ids_RT = torch.zeros(len(jobs), width, dtype=torch.long)
        for index, job in enumerate(jobs):
            ids_RT[index, : len(job.prompt_ids)] = torch.tensor(job.prompt_ids)
        shared = shared_prefix([job.prompt_ids for job in jobs], limit=len(jobs[0].prompt_ids) - 1)
        last_R = torch.tensor([len(job.prompt_ids) - 1 - shared for job in jobs])
        hidden_RSD = self._read_prompts(ids_RT, shared)
        rows = [
            Row(
                job=job,
                uniforms=np.random.Generator(np.random.Philox(job.seed)).random(job.max_tokens),
                constraint=job.grammar.begin() if job.grammar else None,
                began_s=began_s,
            )
            for job in jobs
        ]
        self.rows.extend(rows)
        self._append(rows, hidden_RSD[torch.arange(len(jobs)), last_R])

    def _read_prompts(self, ids_RT: Tensor, num_shared: int) -> Tensor:
        """Fill the next slots; what all prompts begin with is computed for one of them."""
        first = len(self.rows)
        self.cache.prefill_slots = slice(first, first + len(ids_RT))
        self.cache.prefill_start = 0
        if num_shared:
            self._decoder(
                input_ids=ids_RT[:1, :num_shared], past_key_values=self.cache, use_cache=True
            )
        self.cache.prefill_start = num_shared
        positions_1S = torch.arange(num_shared, ids_RT.shape[1]).unsqueeze(0)
        masks = attention_masks(self._config, positions_1S, ids_RT.shape[1])
        hidden_RSD: Tensor = self._decoder(
            input_ids=ids_RT[:, num_shared:],
            position_ids=positions_1S,
            # Without a prefix the model's own causal path is the fastest.
            attention_mask=masks if num_shared else None,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        return hidden_RSD

    def _append(self, rows: list[Row], hidden_AD: Tensor) -> None:
        logits_AV = hidden_AD @ self._head_VD.T
        drawn = draw_within(
            logits_AV,
            [row.constraint for row in rows],
            marks={
                place: partial(row.job.mark, row.job, row.ids)
                for place, row in enumerate(rows)
                if row.job.mark is not None
            },
            temperature_A=torch.tensor([row.job.temperature for row in rows]),
            top_p_A=torch.tensor([row.job.top_p for row in rows], dtype=torch.float64),
            uniform_A=torch.tensor(
                [row.uniforms[len(row.ids)] for row in rows], dtype=torch.float64
            ),
            top_k=max(row.job.top_logprobs for row in rows),
        )
        ids, logprobs = drawn.ids_A.tolist(), drawn.logprobs_A.tolist()
        top_ids, top_logprobs = drawn.top_ids_AK.numpy(), drawn.top_logprobs_AK.numpy()
        for index, row in enumerate(rows):
            row.ids.append(ids[index])
            if row.constraint:
                row.constraint.advance(ids[index])
            row.logprobs.append(logprobs[index])
            row.top_ids.append(top_ids[index, : row.job.top_logprobs])
            row.top_logprobs.append(top_logprobs[index, : row.job.top_logprobs])
            if self._on_token:
                self._on_token(row)

    def _retire(self) -> list[Generated]:
        finished = []
        index = 0
        while index < len(self.rows):
            row = self.rows[index]
            if row.ids[-1] not in self._ends and len(row.ids) < row.job.max_tokens:
                index += 1
                continue
            finished.append(row.finished())
            self._remove(index)
        return finished

    def _remove(self, index: int) -> None:
        """End a row; the last one takes its slot."""
        row, last = self.rows[index], self.rows.pop()
        if last is not row:
            self.cache.move(len(self.rows), index, last.cached)
            self.rows[index] = last

    def _admit(self) -> list[GenerationJob]:
        """Take the waiting jobs that the cache can hold beside what runs, and size it for them."""
        need = max((_tokens(row.job) for row in self.rows), default=0)
        count = 0
        for job in self._waiting:
            slots, _ = self._layout(max(need, _tokens(job)))
            if len(self.rows) + count >= slots:
                break
            need = max(need, _tokens(job))
            count += 1
        admitted, self._waiting = self._waiting[:count], self._waiting[count:]
        if admitted:
            self._slots, num_tokens = self._layout(need)
            if (self._slots, num_tokens) != (self.cache.num_slots, self.cache.num_tokens):
                self.cache.resize(num_slots=self._slots, num_tokens=num_tokens)
        return admitted

    def _layout(self, need: int) -> tuple[int, int]:
        """Slots and tokens of a cache for rows of `need` tokens, within the bytes it may take."""
        cache = self.cache
        fitting = self._cache_bytes // (self._bytes_per_token * need)
        slots = max(1, min(self._max_slots, fitting))
        if need <= cache.num_tokens and slots < 2 * cache.num_slots:
            return cache.num_slots, cache.num_tokens  # copying it would cost more than it gives
        return slots, need

    def check(self, job: GenerationJob) -> None:
        """Refuse a job that cannot be run."""
        if not job.prompt_ids or job.max_tokens < 1 or _tokens(job) > self._context_tokens:
            raise ConfigError(
                f"A prompt of {len(job.prompt_ids)} tokens with max_tokens={job.max_tokens}: the "
                f"model reads 1 to {self._context_tokens} tokens in all. Shorten the prompt or "
                "lower max_tokens."
            )


def _tokens(job: GenerationJob) -> int:
    return len(job.prompt_ids) + job.max_tokens


def _prefill_groups(jobs: list[GenerationJob]) -> Iterator[list[GenerationJob]]:
    group: list[GenerationJob] = []
    for job in sorted(jobs, key=lambda job: len(job.prompt_ids)):
        num_tokens = (len(group) + 1) * len(job.prompt_ids)
        if group and (len(group) == _PREFILL_ROWS or num_tokens > _PREFILL_TOKENS):
            yield group
            group = []
        group.append(job)
    if group:
        yield group
