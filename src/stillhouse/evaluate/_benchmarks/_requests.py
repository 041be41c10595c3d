"""From the harness's texts to what our models score and generate.

Text is tokenised as the harness does it for published figures: as it stands, behind the
beginning-of-text token where the tokenizer puts one there by itself, and cut on the left where it
is longer than the model reads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.chat import ChatTokenizer, EncodedExample
from stillhouse.errors import ConfigError, DataError
from stillhouse.evaluate._benchmarks._until import UntilGrammar
from stillhouse.models import GenerationJob

MAX_GENERATED_TOKENS = 256
"""Where a task does not say; the harness's own default."""

_USED = {"until", "max_gen_toks", "do_sample", "temperature", "top_p"}
_WITHOUT_EFFECT = {"num_beams": 1, "top_k": 0, "repetition_penalty": 1.0, "use_cache": True}
"""Settings of generation that ours does not have, at the values at which they change nothing."""


class TextEncoder:
    """The tokens of raw text, for one model.

    Attributes:
        prefix_id: What stands in front of a text that has no context.
    """

    def __init__(self, chat: ChatTokenizer) -> None:
        tokenizer = chat.tokenizer
        known = (tokenizer.bos_token_id, tokenizer.eos_token_id, chat.end_of_turn_ids[0])
        self.prefix_id: int = next(token_id for token_id in known if token_id is not None)
        self._chat = chat
        bos_id = tokenizer.bos_token_id
        of_nothing = tokenizer("")["input_ids"]
        self._begins_with_bos = bos_id is not None and of_nothing[:1] == [bos_id]

    def ids(self, text: str, *, is_start: bool = True) -> tuple[int, ...]:
        """Of `text`, with the token that begins a text if it is the start of one."""
        (ids,) = self._chat.encode_pieces([text])
        # A chat template may have written it already.
        if is_start and self._begins_with_bos and ids[:1] != (self.prefix_id,):
            return (self.prefix_id, *ids)
        return ids

    def pair(self, context: str, continuation: str) -> EncodedExample:
        """A context and what goes on with it, tokenised as one text and cut between them.

        White space at the context's end belongs to the continuation: it is part of the tokens that
        begin words.

        Raises:
            DataError: nothing goes on, or it is tokens of the context alone.
        """
        if context == "":
            ids = (self.prefix_id, *self.ids(continuation, is_start=False))
            return self._checked(EncodedExample(ids, 1), continuation)
        stripped = context.rstrip()
        whole = self.ids(context + continuation)
        num_context = len(self.ids(stripped))
        return self._checked(EncodedExample(whole, num_context), continuation)

    def _checked(self, example: EncodedExample, continuation: str) -> EncodedExample:
        if not 0 < example.num_prompt < len(example.ids):
            raise DataError(
                f"A benchmark asks for the continuation {continuation!r:.80}, which has no token "
                "of its own behind its context. Correct the task's choices."
            )
        return example


def fitted(example: EncodedExample, context_tokens: int) -> EncodedExample:
    """`example` without the beginning of its context where a model cannot read it whole.

    Raises:
        DataError: the continuation alone is too long.
    """
    # The last token is predicted and not read.
    excess = len(example.ids) - (context_tokens + 1)
    if excess <= 0:
        return example
    if excess >= example.num_prompt:
        raise DataError(
            f"A benchmark asks for a continuation of {len(example.completion_ids)} tokens; the "
            f"model reads {context_tokens}. Leave the task out."
        )
    return EncodedExample(example.ids[excess:], example.num_prompt - excess)


def generation_job(
    encoder: TextEncoder,
    chat: ChatTokenizer,
    key: str,
    context: str,
    settings: Mapping[str, Any],
    *,
    context_tokens: int,
    seed: int,
) -> tuple[GenerationJob, bool]:
    """The job of a request for generation, and whether its context had to be cut.

    Args:
        encoder: Of the model.
        chat: Of the model.
        key: Of the job.
        context: What the model goes on with.
        settings: As the harness normalises them: a temperature counts where `do_sample` is true.
        context_tokens: What the model reads, prompt and completion together.
        seed: Of the job.

    Raises:
        ConfigError: the task asks for a way of generating that stillhouse does not have.
    """
    _check_settings(settings)
    max_tokens = int(settings.get("max_gen_toks", MAX_GENERATED_TOKENS))
    if not 0 < max_tokens < context_tokens:
        raise ConfigError(
            f"A benchmark asks for {max_tokens} generated tokens; the model reads {context_tokens} "
            "with its prompt. Leave the task out, or lower its max_gen_toks."
        )
    ids = encoder.ids(context) or (encoder.prefix_id,)
    kept = ids[-(context_tokens - max_tokens) :]
    stops = stops_of(settings)
    job = GenerationJob(
        key=key,
        prompt_ids=kept,
        max_tokens=max_tokens,
        temperature=float(settings["temperature"]) if settings.get("do_sample") else 0.0,
        top_p=float(settings.get("top_p") or 1.0),
        seed=seed,
        grammar=UntilGrammar(chat, stops) if stops else None,
    )
    return job, len(kept) < len(ids)


def stops_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts at which a request for generation ends."""
    until = settings.get("until") or ()
    stops: Sequence[str] = [until] if isinstance(until, str) else until
    return tuple(stop for stop in stops if stop)


def _check_settings(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name in _USED or value is None or _WITHOUT_EFFECT.get(name, object()) == value:
            continue
        raise ConfigError(
            f"A benchmark generates with {name}={value!r}, which stillhouse does not do. Known are "
            f"{', '.join(sorted(_USED))}. Leave the task out, or change its generation_kwargs."
        )
