"""Our models as lm-evaluation-harness asks them.

The only module that imports the harness at its top; nothing imports it before a run begins.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from stillhouse.chat import EncodedExample
from stillhouse.evaluate._benchmarks._requests import (
    MAX_GENERATED_TOKENS,
    TextEncoder,
    fitted,
    generation_job,
    stops_of,
)
from stillhouse.evaluate._benchmarks._scoring import Continued, score_continuations
from stillhouse.evaluate._benchmarks._until import cut_at
from stillhouse.models import GenerationJob, LanguageModel, generate
from stillhouse.records import content_hash
from stillhouse.runlog import Listener, Ticker


class HarnessModel(LM):
    """A language model as the harness sees it.

    Log-probabilities, stops and limits are those of the harness's own `hf` model; the batches, and
    that a question is read once for all its choices, are ours.

    Attributes:
        num_requests: Asked so far.
        num_truncated: Of those, how many were longer than the context and lost their beginning.
    """

    def __init__(self, model: LanguageModel, *, seed: int, on_progress: Listener) -> None:
        super().__init__()
        self._model = model
        self._encoder = TextEncoder(model.chat)
        self._seed = seed
        self._on_progress = on_progress
        self.num_requests = 0
        self.num_truncated = 0

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, and whether the model would write it by itself."""
        examples = [self._encoder.pair(*request.args) for request in requests]
        return [(scored.logprob_nats, scored.is_greedy) for scored in self._scored(examples)]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Log-probability of whole texts, in windows of the context."""
        windows, owners = [], []
        for index, request in enumerate(requests):
            for window in self._windows(request.args[0]):
                windows.append(window)
                owners.append(index)
        totals = [0.0] * len(requests)
        for owner, scored in zip(owners, self._scored(windows), strict=True):
            totals[owner] += scored.logprob_nats
        return totals

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """What the model goes on with, up to the first stop of each request."""
        jobs = iter([self._job(index, *request.args) for index, request in enumerate(requests)])
        ticker = self._ticker(len(requests))
        texts = {}
        completions = generate(
            self._model,
            lambda limit: list(islice(jobs, limit)),
            num_ids=len(self._model.chat.text_bytes),
        )
        for finished in completions:
            for item in finished:
                texts[int(item.key)], _ = self._model.chat.decode_completion(item.ids.tolist())
            ticker.advance(len(finished))
        return [
            cut_at(texts[index], stops_of(request.args[1]))
            for index, request in enumerate(requests)
        ]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Messages as the model's template writes them."""
        text: str = self._model.chat.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The template's text, if it is asked for."""
        return str(self._model.chat.tokenizer.chat_template) if chat_template else ""

    @property
    def tokenizer_name(self) -> str:
        """What tells requests of this model from those of another."""
        return f"{self._model.chat.vocabulary_sha256}-{self._model.chat.template_sha256}"

    def _scored(self, examples: Sequence[EncodedExample]) -> list[Continued]:
        kept = [fitted(example, self._model.context_tokens) for example in examples]
        self.num_truncated += sum(
            len(one.ids) < len(other.ids) for one, other in zip(kept, examples, strict=True)
        )
        return score_continuations(self._model, kept, self._ticker(len(kept)).advance)

    def _windows(self, text: str) -> list[EncodedExample]:
        pairs = get_rolling_token_windows(
            token_list=list(self._encoder.ids(text, is_start=False)),
            prefix_token=self._encoder.prefix_id,
            max_seq_len=self._model.context_tokens,
            context_len=1,
        )
        return [
            EncodedExample((*context, *predicted), len(context))
            for context, predicted in map(make_disjoint_window, pairs)
        ]

    def _job(self, index: int, context: str, settings: dict[str, Any]) -> GenerationJob:
        job, is_cut = generation_job(
            self._encoder,
            self._model.chat,
            str(index),
            context,
            normalize_gen_kwargs(settings, MAX_GENERATED_TOKENS),
            context_tokens=self._model.context_tokens,
            # Repeats of one request are drawn apart, and alike in every run.
            seed=int(content_hash([self._seed, index, context])[:15], 16),
        )
        self.num_truncated += is_cut
        return job

    def _ticker(self, total: int) -> Ticker:
        self.num_requests += total
        return Ticker(self._on_progress, stage="benchmarks", total=total, unit="requests")
