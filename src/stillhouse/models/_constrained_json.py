"""Completions that are JSON of a schema, held to it by llguidance.

The text is that of canonical JSON as far as a grammar can say it: no spaces, properties in the
order of their names, every character as itself. It is what students of extraction are taught, so
that a student is held to the form that it knows, and no token goes on spaces.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stillhouse.chat import ChatTokenizer
from stillhouse.errors import ConfigError, MissingDependencyError
from stillhouse.models._constrained import Bools
from stillhouse.models._schema_bounds import check_schema_bounds

_FORM: Any = {
    "whitespace_flexible": False,
    "item_separator": ",",
    "key_separator": ":",
    # All but \uXXXX, which may spell half a character that no UTF-8 can hold.
    "json_allowed_escapes": 'nrbtf\\"',
    # What cannot be enforced is an error, and never left out.
    "lenient": False,
    "coerce_one_of": False,
}


class JsonGrammar:
    """JSON of one schema in the tokens of one model; make it with `json_grammar`."""

    def __init__(self, matcher: Any, *, end_ids: tuple[int, ...]) -> None:
        self._matcher = matcher
        self._end_ids = end_ids

    def begin(self) -> "JsonConstraint":
        """The place before a completion's first token."""
        return JsonConstraint(self._matcher.deep_copy(), self._end_ids)


class JsonConstraint:
    """Where one completion stands in its JSON."""

    def __init__(self, matcher: Any, end_ids: tuple[int, ...]) -> None:
        self._matcher = matcher
        self._end_ids = list(end_ids)

    def allowed_V(self) -> Bools:
        """(V,) the tokens that JSON of the schema can go on with, whole or in part.

        Raises:
            ConfigError: the schema is too complex for llguidance to follow.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._raise_error()
        allowed_V = np.unpackbits(bits, bitorder="little").view(np.bool_)
        # llguidance knows one token that ends a turn; a model may know more.
        allowed_V[self._end_ids] = allowed_V[self._end_ids[0]]
        return allowed_V

    def advance(self, token_id: int) -> None:
        """Go on with an allowed id; the end of the turn leads nowhere.

        Raises:
            ConfigError: the schema is too complex for llguidance to follow.
        """
        if token_id not in self._end_ids:
            self._matcher.consume_token(token_id)
            self._raise_error()

    def _raise_error(self) -> None:
        if self._matcher.is_error():
            raise ConfigError(
                f"An answer cannot be held to the schema ({_first_line(self._matcher.get_error())})"
                ". Use a simpler schema."
            )


def json_grammar(chat: ChatTokenizer, schema: Mapping[str, Any]) -> JsonGrammar:
    """What a model may write so that its answer is JSON of `schema`.

    Making one takes 0.3 s for 50,000 tokens, and a token 0.14 ms; make it once and give it to every
    job.

    Args:
        chat: Of the model that generates.
        schema: A JSON schema, draft 2020-12. Properties come in the order of their names, whatever
            their order here; those that it does not name come after them and may repeat.

    Raises:
        ConfigError: llguidance cannot enforce the schema, or nothing satisfies it.
        MissingDependencyError: llguidance is not installed.
    """
    try:
        import llguidance
    except ImportError as err:
        raise MissingDependencyError(
            f"Answers in JSON of a schema need llguidance ({err}). "
            "Run: pip install 'stillhouse[constrained]'"
        ) from err
    check_schema_bounds(schema)
    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Vocabulary(chat)))
    try:
        text = llguidance.LLMatcher.grammar_from_json_schema(
            _with_sorted_properties(dict(schema)), overrides=_FORM
        )
    except ValueError as err:
        raise _unenforceable(str(err)) from err
    matcher = llguidance.LLMatcher(tokenizer, text, log_level=0)
    if matcher.is_error():
        raise _unenforceable(matcher.get_error())
    return JsonGrammar(matcher, end_ids=chat.end_of_turn_ids)


class _Vocabulary:
    """A model's tokens as llguidance asks for them: bytes by id, and which are no text."""

    def __init__(self, chat: ChatTokenizer) -> None:
        self.tokens = chat.text_bytes
        self.special_token_ids = sorted(chat.control_ids)
        self.eos_token_id = chat.end_of_turn_ids[0]
        self.bos_token_id = None
        self._chat = chat

    def __call__(self, text: str) -> list[int]:
        (ids,) = self._chat.encode_pieces([text])
        return list(ids)


def _with_sorted_properties(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_sorted_properties(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _sorted_part(key, value) for key, value in schema.items()}


def _sorted_part(key: str, value: Any) -> Any:
    if key in ("const", "enum"):  # not schemas but answers, in whose objects all keys are sorted
        return json.loads(json.dumps(value, sort_keys=True))
    if key == "properties" and isinstance(value, dict):
        return {name: _with_sorted_properties(value[name]) for name in sorted(value)}
    return _with_sorted_properties(value)


def _unenforceable(reason: str) -> ConfigError:
    return ConfigError(
        f"Answers cannot be held to this schema ({_first_line(reason)}). Leave out or reword what "
        "it names, or generate without a grammar and let the task's parser judge."
    )


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0][:300]
