import json
import shutil
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import small_models
from export_cases import LOOSE, asked, small_student, write_student
from gguf import GGUFReader
from tiny_chain import Chain, write_dataset

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.errors import ConfigError, DataError, ExportRefusedError, IntegrityError
from stillhouse.export import REPORT_NAME, ExportReport, FormatReport, export
from stillhouse.export._fixtures import fixture_conversations
from stillhouse.export._gguf import export_gguf, pairs_first
from stillhouse.export._gguf._engine import LlamaCpp
from stillhouse.export._gguf._write import write_gguf
from stillhouse.export._language import token_identity
from stillhouse.models import StudentStart, begin_student, load_model

pytest.importorskip("xllamacpp")
QWEN2 = small_models.qwen2(use_sliding_window=False)
HERMES = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- 'Tools:' }}
{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant' }}
{%- for call in message.tool_calls %}
{%- set call = call.function %}
{{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
{{- (call.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content }}
{{- '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
"""Shows tools and calls the way most open models were taught them."""


def report_of(folder: Path) -> ExportReport:
    return ExportReport.model_validate_json((folder / REPORT_NAME).read_bytes())


def figures(report: FormatReport) -> dict[str, float]:
    return {figure.name: figure.value for figure in report.figures}


def left_beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("export")
    student = small_student(folder / "student", tiny_folder)
    config = asked("gguf-f16", "gguf-q8_0", "gguf-q4_k", q4_k=LOOSE, q8_0=LOOSE)
    export(student, folder / "out", config=config)
    return folder / "out"


def test_an_export_is_an_artefact_whose_parent_is_the_student(exported: Path) -> None:
    artifact = open_artifact(exported, kind="export")
    check_files(artifact)
    assert [parent.path for parent in artifact.manifest.parents] == ["../student"]
    names = {entry.name for entry in artifact.manifest.files}
    assert {"gguf-f16/student.gguf", "gguf-f16/Modelfile", REPORT_NAME} <= names
    assert left_beside(exported.parent) == ["out", "student"]


def test_each_format_is_held_to_the_student(exported: Path) -> None:
    report = report_of(exported)
    assert [made.format for made in report.formats] == ["gguf-f16", "gguf-q8_0", "gguf-q4_k"]
    found = [figures(made) for made in report.formats]
    assert all(figure["identical_conversations"] >= 200 for figure in found)
    assert found[0]["mean_kl_nats"] < 1e-3
    assert found[0]["transformers_mean_kl_nats"] < 1e-4
    kl = [figure["transformers_mean_kl_nats"] for figure in found]
    assert kl == sorted(kl)
    assert {figure.n for made in report.formats for figure in made.figures[1:]} == {64}


def test_the_file_says_what_llama_cpp_must_know(exported: Path, tiny_folder: Path) -> None:
    fields = GGUFReader(exported / "gguf-f16" / "student.gguf").fields
    model = load_model(tiny_folder)
    assert fields["general.architecture"].contents() == "llama"
    assert fields["llama.block_count"].contents() == 4
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 2
    assert fields["tokenizer.chat_template"].contents() == model.chat.tokenizer.chat_template
    assert (exported / "gguf-f16" / "Modelfile").read_text() == (
        'FROM ./student.gguf\nPARAMETER stop "<|im_end|>"\n'
    )


@pytest.mark.parametrize(
    "config",
    [
        small_models.llama(tie_word_embeddings=False, head_dim=16, attention_bias=True),
        QWEN2,
        small_models.qwen3(),
    ],
    ids=["llama-untied-biased", "qwen2", "qwen3"],
)
def test_other_families_agree_too(config, tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder, config)
    export(student, tmp_path / "out", config=asked("gguf-f16"))
    assert figures(report_of(tmp_path / "out").formats[0])["mean_kl_nats"] < 1e-3


def test_stretched_positions_agree_too(tmp_path: Path, tiny_folder: Path) -> None:
    rope = {"rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope |= {"rope_type": "llama3", "original_max_position_embeddings": 32}
    student = small_student(
        tmp_path / "student", tiny_folder, small_models.llama(rope_parameters=rope)
    )
    export(student, tmp_path / "out", config=asked("gguf-f16"))
    made = report_of(tmp_path / "out").formats[0]
    assert figures(made)["mean_kl_nats"] < 1e-3
    assert "leaves out how positions are stretched" in made.notes[0]


@pytest.mark.parametrize("template_begins_with_it", [True, False])
def test_a_tokenizer_that_adds_a_first_token_agrees_too(
    tmp_path: Path, tiny_folder: Path, template_begins_with_it: bool
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    definition = json.loads((folder / "tokenizer.json").read_text())
    first = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    definition["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {
            "<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    if not template_begins_with_it:
        template = (folder / "chat_template.jinja").read_text()
        (folder / "chat_template.jinja").write_text(f"Chat:\n{template}")
    student = write_student(tmp_path / "student", load_model(folder))
    export(student, tmp_path / "out", config=asked("gguf-f16"))
    fields = GGUFReader(tmp_path / "out" / "gguf-f16" / "student.gguf").fields
    # Where the template does not begin with it, training never saw it.
    assert fields["tokenizer.ggml.add_bos_token"].contents() is template_begins_with_it


def test_pairs_come_first() -> None:
    rows = np.arange(16.0, dtype=np.float32).reshape(8, 2)
    assert pairs_first(rows, 2)[:, 0].tolist() == [0, 4, 2, 6, 8, 12, 10, 14]
    assert pairs_first(rows[:, 0], 1).tolist() == [0, 8, 2, 10, 4, 12, 6, 14]


def test_queries_and_keys_in_the_wrong_order_are_refused(tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    wrong = partial(export_gguf, order=lambda rows, heads: rows)
    with pytest.raises(ExportRefusedError, match=r"mean_kl_nats is .*at most 0\.005 is allowed"):
        export(
            student,
            tmp_path / "out",
            config=asked("gguf-f16"),
            exporters={"student": {"gguf-f16": wrong}},
        )
    assert left_beside(tmp_path) == ["student"]


def test_a_refused_export_leaves_the_earlier_one(tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    out = export(student, tmp_path / "out", config=asked("gguf-f16")).path
    before = (out / "manifest.json").read_bytes()
    strict = asked("gguf-q8_0", q8_0={"max_mean_kl": 1e-9, "min_top1": 0.0})
    with pytest.raises(ConfigError, match="--force"):
        export(student, out, config=strict)
    with pytest.raises(ExportRefusedError, match="Nothing was exported"):
        export(student, out, config=strict, replace=True)
    assert (out / "manifest.json").read_bytes() == before
    check_files(open_artifact(out))


def test_another_template_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder)

    def with_another_template(source, folder, name):
        write_gguf(source.model, folder / "student.gguf", recipe=name)
        path = folder / "student.gguf"
        path.write_bytes(
            path.read_bytes().replace(b"<|im_end|>\n{% endfor", b"<|im_end|> {% endfor")
        )
        with closing(LlamaCpp(path, context=64)) as engine:
            token_identity(source, lambda asked: engine.tokens(engine.rendered(asked)))

    with pytest.raises(ExportRefusedError, match="reads a fixture conversation as other tokens"):
        export(
            student,
            tmp_path / "out",
            config=asked("gguf-f16"),
            exporters={"student": {"gguf-f16": with_another_template}},
        )


def test_a_template_that_shows_tools_is_the_same_everywhere(
    tmp_path: Path, tiny_folder: Path
) -> None:
    model = load_model(tiny_folder)
    model.chat.tokenizer.chat_template = HERMES
    student = write_student(tmp_path / "student", model)
    assert load_model(student).chat.reads_tools

    export(student, tmp_path / "out", config=asked("gguf-f16", "safetensors"))

    total = len(list(fixture_conversations()))
    assert sum(bool(fixture.tools) for fixture in fixture_conversations()) == 24
    for made in report_of(tmp_path / "out").formats:
        assert figures(made)["identical_conversations"] == total


def test_the_metric_is_measured_on_held_out_answers(
    tmp_path: Path, tiny_folder: Path, chain: Chain
) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    export(
        student, tmp_path / "out", config=asked("gguf-f16", positions=400), dataset=chain.dataset
    )
    metric = report_of(tmp_path / "out").formats[0].metric
    assert metric is not None
    assert metric.verdict == "non_inferior"
    assert metric.exported == pytest.approx(metric.student, abs=1e-2)
    assert -20 < metric.student < 0
    assert len(open_artifact(tmp_path / "out").manifest.parents) == 2


def test_a_dataset_without_held_out_rows_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    write_dataset(tmp_path / "dataset", f"local:{tiny_folder}")
    with pytest.raises(DataError, match="no held-out example"):
        export(student, tmp_path / "out", config=asked("gguf-f16"), dataset=tmp_path / "dataset")


def test_a_family_that_is_not_written_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder, small_models.gemma3())
    with pytest.raises(ConfigError, match="'gemma3_text'; GGUF files are written of llama, qwen2"):
        export(student, tmp_path / "out", config=asked("gguf-f16"))
    assert left_beside(tmp_path) == ["student"]


def test_a_window_of_attention_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    windowed = small_models.qwen2(use_sliding_window=True, sliding_window=8)
    student = small_student(tmp_path / "student", tiny_folder, windowed)
    with pytest.raises(ConfigError, match="sliding window"):
        export(student, tmp_path / "out", config=asked("gguf-f16"))


def test_a_damaged_student_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    weights = student / "model.safetensors"
    weights.write_bytes(b"\xff" * 16 + weights.read_bytes()[16:])
    with pytest.raises(IntegrityError, match="cannot be loaded"):
        export(student, tmp_path / "out", config=asked("gguf-f16"))
    (student / "config.json").unlink()
    with pytest.raises(IntegrityError, match="missing"):
        export(student, tmp_path / "out", config=asked("gguf-f16"))


def test_a_student_without_a_template_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder, bare)
    student = write_student(tmp_path / "student", load_model(bare))
    (student / "chat_template.jinja").write_text("")
    with pytest.raises(IntegrityError, match=r"chat_template\.jinja is truncated"):
        export(student, tmp_path / "out", config=asked("gguf-f16"))


def test_a_format_twice_and_a_wrong_kind_are_refused(
    tmp_path: Path, tiny_folder: Path, chain: Chain
) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    with pytest.raises(ConfigError, match="Give each once"):
        export(student, tmp_path / "out", config=asked("gguf-f16", "gguf-f16"))
    with pytest.raises(ConfigError, match="is a dataset artefact; export takes student"):
        export(chain.dataset, tmp_path / "out", config=asked("gguf-f16"))


@pytest.mark.weights
@pytest.mark.slow
def test_a_pruned_student_of_the_real_model_is_exported(tmp_path: Path) -> None:
    base = load_model("")
    start = StudentStart(layers=tuple(range(0, 30, 5)))
    student = write_student(tmp_path / "student", begin_student(base, start, name="pruned"))
    config = asked("gguf-f16", "gguf-q4_k", positions=96, q4_k=LOOSE)
    export(student, tmp_path / "out", config=config)
    found = [figures(made) for made in report_of(tmp_path / "out").formats]
    assert found[0]["mean_kl_nats"] < 1e-3
    assert found[0]["identical_conversations"] > 350
