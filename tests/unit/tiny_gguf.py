"""GGUF files small enough to write in a test: one by hand, and one that holds a whole model."""

import struct
from pathlib import Path

import numpy as np
from tiny_model import END_OF_TURN_ID, SPECIAL_TOKENS, TEMPLATE
from tokenizers.pre_tokenizers import ByteLevel

_NORMAL, _CONTROL = 1, 3


def text(value: str) -> bytes:
    """A string as GGUF writes it."""
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def by_hand(*, version: int = 3, tensor_bytes: int = 64, name: str = "My Model") -> bytes:
    """One F32 tensor of 4 x 4 and metadata of every shape that is read or skipped."""
    metadata = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("general.name") + struct.pack("<I", 8) + text(name),
        text("llama.context_length") + struct.pack("<II", 4, 8192),
        text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc"),
        text("scores") + struct.pack("<IIQ", 9, 6, 3) + struct.pack("<fff", 0, 1, 2),
        text("tokenizer.chat_template") + struct.pack("<I", 8) + text("{{ messages }}"),
    ]
    tensor = text("w") + struct.pack("<IQQIQ", 2, 4, 4, 0, 0)
    header = b"GGUF" + struct.pack("<IQQ", version, 1, len(metadata))
    head = header + b"".join(metadata) + tensor
    return head + b"\0" * (-len(head) % 32) + b"\1" * tensor_bytes


def write_model(path: Path, *, architecture: str = "llama", without: str = "") -> Path:
    """A random Llama with a byte-level vocabulary, as llama.cpp's converter would write it."""
    from gguf import GGUFWriter

    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = [*SPECIAL_TOKENS, *alphabet, "th", "the"]
    num_layers = 2
    width, heads, kv_heads, inner = 32, 4, 2, 64
    writer = GGUFWriter(path, architecture)
    writer.add_name("training-run-17")
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_block_count(num_layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary)
    writer.add_token_types([_CONTROL] * 3 + [_NORMAL] * 258)
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END_OF_TURN_ID)
    writer.add_pad_token_id(END_OF_TURN_ID)
    writer.add_chat_template(TEMPLATE)
    rng = np.random.default_rng(3)
    key_width = width // heads * kv_heads
    shapes = {"token_embd": (len(vocabulary), width)}
    for layer in range(num_layers):
        shapes |= {
            f"blk.{layer}.attn_q": (width, width),
            f"blk.{layer}.attn_k": (key_width, width),
            f"blk.{layer}.attn_v": (key_width, width),
            f"blk.{layer}.attn_output": (width, width),
            f"blk.{layer}.ffn_gate": (inner, width),
            f"blk.{layer}.ffn_up": (inner, width),
            f"blk.{layer}.ffn_down": (width, inner),
            f"blk.{layer}.attn_norm": (width,),
            f"blk.{layer}.ffn_norm": (width,),
        }
    shapes["output_norm"] = (width,)
    shapes.pop(without, None)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(0.3, 0.4, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
