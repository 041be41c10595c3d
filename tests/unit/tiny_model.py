"""A real model folder, small enough to make in every test session.

A Llama of 4 layers with random weights and a byte-level BPE tokenizer whose pad is its
end-of-turn, as in SmolLM2-Instruct. Nothing is downloaded.
"""

from pathlib import Path

import tokenizers
import torch
import transformers

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
END_OF_TURN_ID = 2
VOCABULARY_SIZE = 400

_CORPUS = [
    "The council of a small town opened a bridge on Monday after two years of work.",
    "Headline: Town Opens New Bridge",
    "A bakery won a prize for its bread, and the baker thanked the farm.",
    "user assistant system",
] * 4


def make_tiny_model(folder: Path, *, layers: int = 4, seed: int = 0) -> Path:
    """Write the model into `folder` and return it."""
    tokenizer = _make_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=END_OF_TURN_ID,
        pad_token_id=END_OF_TURN_ID,
        initializer_range=0.4,
    )
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    network = transformers.LlamaForCausalLM(config)
    torch.set_rng_state(generator_state)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _make_tokenizer() -> transformers.PreTrainedTokenizerFast:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_CORPUS, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )
