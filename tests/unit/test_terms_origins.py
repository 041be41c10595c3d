"""From a spec to the terms that hold, and names that only look like others."""

import struct
from pathlib import Path

import pytest
from terms_cases import built_in

from stillhouse.errors import ConfigError
from stillhouse.terms import (
    Declaration,
    base_origin,
    dataset_origin,
    provider_origin,
    teacher_origin,
)

NOTHING = Declaration()
CYRILLIC_O = "\N{CYRILLIC SMALL LETTER O}"
GROQ = "hosted-groq"


def sources_of(spec: str, declaration: Declaration = NOTHING) -> tuple[str, ...]:
    return teacher_origin(spec, declaration, built_in()).sources


@pytest.mark.parametrize(
    ("spec", "sources"),
    [
        ("fake:", ("own",)),
        ("fake:script.jsonl?parallel=2", ("own",)),
        ("local:", ("apache-2.0",)),
        ("gguf:", ("apache-2.0",)),
        ("local:?answers=text", ("apache-2.0",)),
        ("gguf:?parallel=2", ("apache-2.0",)),
        ("local:gemma-3-270m@0123abcd+watermark:0123abcd", ("gemma-terms",)),
        ("local:SmolLM2-135M-Instruct", ("apache-2.0",)),
        ("openai:gpt-5", ("openai-business",)),
        ("openai:gpt-5?api=responses", ("openai-business",)),
        ("anthropic:claude-opus", ("anthropic-commercial",)),
        ("google:gemini-3", ("google-gemini-api",)),
        ("xai:grok-5", ("xai-enterprise",)),
        ("mistral:mistral-large", ("mistral-commercial",)),
        ("deepseek:deepseek-chat", ("deepseek-api",)),
        ("azure:my-deployment", ("azure-openai",)),
        ("groq:llama-3.3-70b-versatile", (GROQ, "llama-3.3")),
        ("groq:deepseek-r1-distill-llama-70b", (GROQ, "deepseek-mit", "llama-3.3")),
        ("together:meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", ("hosted-together", "llama-3.1")),
        ("openrouter:deepseek/deepseek-r1:free", ("hosted-openrouter", "deepseek-mit")),
        ("fireworks:accounts/fireworks/models/qwen3-32b", ("hosted-fireworks", "qwen-apache")),
        ("openrouter:google/gemma-3-27b-it", ("hosted-openrouter", "gemma-terms")),
        ("openrouter:google/gemma-4-31b", ("hosted-openrouter", "gemma-4")),
        ("ollama:llama3:8b", ("llama-3",)),
        ("ollama:llama3.2:1b", ("llama-3.2",)),
        ("vllm:Qwen/Qwen2.5-3B-Instruct", ("qwen-research",)),
        ("vllm:Qwen/Qwen2.5-7B-Instruct", ("qwen-apache",)),
        ("llamacpp:gemma-2-2b-it", ("gemma-terms",)),
        ("llama-3.1-8b", ("llama-3.1",)),
        ("openrouter:openai/gpt-5", ()),
        ("ollama:my-own-model", ()),
        ("gpt-4o-mini", ()),
        ("https://api.example.com/v1#m", ()),
        ("decisions:http://127.0.0.1:1/v1#m", ()),
        ("nowhere:model", ()),
        ("replay:0123456789abcdef", ()),
    ],
)
def test_a_spec_is_under_the_terms_that_it_tells_of(spec: str, sources: tuple[str, ...]) -> None:
    origin = teacher_origin(spec, NOTHING, built_in())
    assert origin.sources == sources
    assert origin.name == spec
    assert origin.why


def test_what_is_declared_comes_first_and_the_longest_pattern_that_fits_counts() -> None:
    declaration = Declaration.model_validate(
        {
            "accounts": {"openai": "openai-consumer", "groq": "own"},
            "teachers": {
                "http://127.0.0.1:*": "own",
                "*": "mit",
                "http://127.0.0.1:8000/*": ["llama-3.1", "own"],
            },
        }
    )
    assert sources_of("http://127.0.0.1:8000/v1#m", declaration) == ("llama-3.1", "own")
    assert sources_of("http://127.0.0.1:9/v1#m", declaration) == ("own",)
    assert sources_of("xai:grok", declaration) == ("mit",)
    accounts = declaration.model_copy(update={"teachers": {}})
    assert sources_of("openai:gpt-5", accounts) == ("openai-consumer",)
    assert sources_of("groq:llama-3.1-8b", accounts) == ("own", "llama-3.1")
    assert provider_origin("openai", accounts, built_in()).sources == ("openai-consumer",)
    assert provider_origin("openai", NOTHING, built_in()).sources == ("openai-business",)
    assert provider_origin("ollama", NOTHING, built_in()).sources == ()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (f"{CYRILLIC_O}penai:gpt-5", r"CYRILLIC SMALL LETTER O \(U\+043E\)"),
        ("openai:gpt\N{NON-BREAKING HYPHEN}5", "NON-BREAKING HYPHEN"),
        (f"groq:llama-3.1-8b{CYRILLIC_O}", "CYRILLIC SMALL LETTER O"),
        (f"https://{CYRILLIC_O}penai.com/v1#m", "plain ASCII"),
        ("xai:grok\N{ZERO WIDTH SPACE}", "ZERO WIDTH SPACE"),
        ("0penai:gpt-5", "'0penai' looks like 'openai' and is not it"),
        ("opena1:gpt-5", "'opena1' looks like 'openai'"),
        ("OpenAI:gpt-5", "'OpenAI' looks like 'openai'"),
        ("anthr0pic:claude", "looks like 'anthropic'"),
        ("groq:d33pseek-r1", "looks like 'deepseek'"),
        ("ollama:1lama-3", "looks like 'llama'"),
    ],
)
def test_a_look_alike_is_refused_with_what_it_is(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        teacher_origin(spec, NOTHING, built_in())


def test_a_pattern_for_all_does_not_let_a_letter_of_another_script_in() -> None:
    everything = Declaration(teachers={"*": ("own",)})
    with pytest.raises(ConfigError, match="CYRILLIC"):
        teacher_origin(f"{CYRILLIC_O}penai:gpt-5", everything, built_in())


def card(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "README.md").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("---\nlicense: mit\n---\nA model.", ("mit",)),
        ("---\r\nlicense: Apache-2.0\r\n---\r\n", ("apache-2.0",)),
        ("---\nlicense: [llama3.1]\n---\n", ("llama-3.1",)),
        ("---\nlicense: gemma\ntags: [x]\n---\n", ("gemma-terms",)),
        ("---\nlicense: [mit, apache-2.0]\n---\n", ()),
        ("---\nlicense: other\n---\n", ()),
        ("---\nlicense: 'unclosed\n---\n", ()),
        ("license: mit\n", ()),
        ("---\nlicense:\n---\n", ()),
        ("", ()),
    ],
)
def test_a_folder_is_under_what_its_card_states(
    tmp_path: Path, text: str, sources: tuple[str, ...]
) -> None:
    folder = card(tmp_path / "model", text)
    assert sources_of(f"local:{folder}") == sources
    assert base_origin(f"local:{folder}", NOTHING, built_in()).sources == sources


def test_a_folder_that_states_nothing_is_known_by_its_name_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "Llama-3.2-1B").mkdir()
    assert sources_of(f"local:{tmp_path / 'Llama-3.2-1B'}") == ("llama-3.2",)
    (tmp_path / "mine").mkdir()
    origin = base_origin(f"local:{tmp_path / 'mine'}", NOTHING, built_in())
    assert origin.sources == ()
    assert "states no licence. Declare it in terms.yaml: base_models:" in origin.why
    declared = Declaration(base_models={"*/mine": ("own",)})
    assert base_origin(f"local:{tmp_path / 'mine'}", declared, built_in()).sources == ("own",)


def gguf(path: Path, *pairs: tuple[str, int, bytes], num_keys: int | None = None) -> Path:
    body = b"".join(
        struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value
        for key, kind, value in pairs
    )
    count = len(pairs) if num_keys is None else num_keys
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, count) + body)
    return path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def test_a_gguf_file_is_under_what_its_metadata_states(tmp_path: Path) -> None:
    words = struct.pack("<IQ", 8, 2) + text("a") + text("bc")
    numbers = struct.pack("<IQ", 4, 3) + bytes(12)
    path = gguf(
        tmp_path / "model.gguf",
        ("general.name", 8, text("x")),
        ("tokenizer.tokens", 9, words),
        ("tokenizer.types", 9, numbers),
        ("general.size", 10, bytes(8)),
        ("general.license", 8, text("llama3.2")),
    )
    assert sources_of(f"gguf:{path}") == ("llama-3.2",)
    assert sources_of(f"local:{path}") == ("llama-3.2",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"XXXX" + bytes(40),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**63) + bytes(64),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", 2**62),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("k") + struct.pack("<I", 99),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1),
    ],
)
def test_a_gguf_file_that_is_damaged_states_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    assert sources_of(f"gguf:{path}") == ()


def test_data_is_the_users_own_unless_it_is_declared() -> None:
    declaration = Declaration(datasets={"*/squad*": ("cc-by-sa-4.0",)})
    assert dataset_origin("data/prompts.jsonl", declaration) is None
    found = dataset_origin("data/squad/train.jsonl", declaration)
    assert found is not None
    assert found.sources == ("cc-by-sa-4.0",)
    assert found.label == "dataset train.jsonl"
