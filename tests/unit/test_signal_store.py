"""The store: what is written is read, a kill loses one part at most, and other text is refused."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    TeacherRef,
    begin_artifact,
    open_artifact,
)
from stillhouse.errors import IntegrityError, ShapeError, VocabularyMismatchError
from stillhouse.signal import (
    AdaptiveCodec,
    Codec,
    HeadCacheCodec,
    HeadCacheSignal,
    HiddenCodec,
    HiddenSignal,
    SampledCodec,
    SampledSignal,
    Signal,
    SignalReader,
    SignalWriter,
    TokenCodec,
    TokenSignal,
    TopKCodec,
    TopKSignal,
    check_fingerprints,
)
from stillhouse.signal._part import write_part

K = 4
TEACHER, TOKENIZER, TEMPLATE = "a" * 64, "b" * 64, "c" * 64


def signal(num_tokens: int, *, seed: int) -> TopKSignal:
    rng = np.random.default_rng(seed)
    ids = np.argsort(rng.random((num_tokens, 50)), axis=1)[:, :K]
    probabilities = -np.sort(-rng.dirichlet(np.ones(K + 1), num_tokens)[:, :K], axis=1)
    return TopKSignal.of(ids, np.log(probabilities))


def key(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


ROWS = {key(n): signal(n + 1, seed=n) for n in range(9)}  # 45 tokens


@contextmanager
def writing(folder: Path, **options: Any) -> Iterator[tuple[ArtifactWriter, SignalWriter]]:
    """A capture that lets go of the folder however it ends, like one that is killed."""
    artifact = begin_artifact(
        folder,
        kind="signal",
        stage="capture",
        config={"top_k": K},
        parents=options.get("parents", ()),
    )
    try:
        yield (
            artifact,
            SignalWriter(artifact, TopKCodec(K), part_tokens=options.get("part_tokens", 10)),
        )
    finally:
        artifact.release()


def finish(artifact: ArtifactWriter, **fingerprints: Any) -> Artifact:
    return artifact.finish(counts=Counts(num_in=9, kept=9), **fingerprints)


def write(folder: Path, rows: dict[str, TopKSignal], **options: Any) -> Artifact:
    with writing(folder, **options) as (artifact, store):
        for name, value in rows.items():
            store.add(name, value)
        store.close()
        return finish(artifact)


def assert_same(found: TopKSignal, wanted: TopKSignal) -> None:
    """Same ids in the same order; probabilities as near as the grid is fine."""
    assert np.array_equal(found.ids, wanted.ids)
    assert (found.logprobs.dtype, found.tail_logprob.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(np.exp(found.logprobs), np.exp(wanted.logprobs), atol=4e-3)
    np.testing.assert_allclose(found.tail_logprob, wanted.tail_logprob, atol=1e-3)


@pytest.mark.parametrize("part_tokens", [1, 10, 1000])
def test_what_is_written_is_read(tmp_path: Path, part_tokens: int) -> None:
    with writing(tmp_path / "s", part_tokens=part_tokens) as (artifact, store):
        for name, value in ROWS.items():
            store.add(name, value)
            assert name in store
        assert store.close() == 45
        finished = finish(artifact)
    reader = SignalReader(finished)
    assert len(reader) == len(store) == 9
    for name, value in reversed(ROWS.items()):
        assert name in reader
        assert_same(reader.read(name), value)


def test_a_key_is_stored_once(tmp_path: Path) -> None:
    with writing(tmp_path / "s") as (artifact, store):
        store.add(key(99), ROWS[key(3)])
        store.add(key(99), ROWS[key(5)])
        assert len(store) == 1
        assert store.close() == 4
        reader = SignalReader(finish(artifact))
    assert_same(reader.read(key(99)), ROWS[key(3)])


def test_nothing_captured_is_an_empty_signal(tmp_path: Path) -> None:
    reader = SignalReader(write(tmp_path / "s", {}))
    assert len(reader) == 0
    assert key(99) not in reader


def test_a_kill_loses_the_part_in_memory_and_no_other(tmp_path: Path) -> None:
    with writing(tmp_path / "s") as (_, store):
        for name, value in list(ROWS.items())[:5]:
            store.add(name, value)
    with writing(tmp_path / "s") as (artifact, store):
        assert [name for name in ROWS if name in store] == [key(0), key(1), key(2), key(3)]
        for name, value in ROWS.items():
            if name not in store:
                store.add(name, value)
        store.close()
        reader = SignalReader(finish(artifact))
    for name, value in ROWS.items():
        assert_same(reader.read(name), value)


def test_a_kill_after_the_last_part_loses_nothing(tmp_path: Path) -> None:
    with writing(tmp_path / "s") as (_, store):
        for name, value in ROWS.items():
            store.add(name, value)
        store.close()  # and the artefact is never finished
    with writing(tmp_path / "s") as (artifact, store):
        assert all(name in store for name in ROWS)
        store.add(key(77), ROWS[key(0)])
        assert store.close() == 46
        reader = SignalReader(finish(artifact))
    for name, value in ROWS.items():
        assert_same(reader.read(name), value)
    assert_same(reader.read(key(77)), ROWS[key(0)])


def test_half_a_part_is_not_a_part(tmp_path: Path) -> None:
    with writing(tmp_path / "s") as (artifact, store):
        store.add(key(8), signal(12, seed=1))
        (artifact.work_dir / "parts" / "signal-00001.tmp").write_bytes(b"torn")
    with writing(tmp_path / "s") as (artifact, store):
        assert len(store) == 1
        store.close()
        finished = finish(artifact)
    assert sorted(path.suffix for path in finished.path.iterdir()) == [
        ".json",
        ".safetensors",
    ]


def test_the_same_capture_has_the_same_bytes_however_often_it_was_killed(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", ROWS)
    for count in (4, 6, 9):
        with writing(tmp_path / "killed") as (_, store):
            for name, value in list(ROWS.items())[:count]:
                store.add(name, value)
    resumed = write(tmp_path / "killed", ROWS)
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.manifest.rows_root == whole.manifest.rows_root


def with_nan(codec: Codec[Any], signal: Signal, array: str) -> tuple[Codec[Any], Signal]:
    getattr(signal, array)[-1] = np.nan
    return codec, signal


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype=np.float32)


HEAD = ((50, 3), "a" * 64)


@pytest.mark.parametrize(
    ("codec", "broken"),
    [
        with_nan(TopKCodec(K), signal(3, seed=0), "logprobs"),
        with_nan(TopKCodec(K), signal(3, seed=0), "tail_logprob"),
        with_nan(AdaptiveCodec(K, 0.01), signal(3, seed=0), "logprobs"),
        with_nan(SampledCodec(1), SampledSignal(np.ones((3, 1), np.int32), ones(3, 1)), "weights"),
        with_nan(TokenCodec(), TokenSignal(ones(3)), "logprobs"),
        with_nan(HiddenCodec(*HEAD), HiddenSignal(ones(3, 3)), "hidden"),
        with_nan(HeadCacheCodec(*HEAD), HeadCacheSignal(ones(3, 3), ones(3)), "negative_entropy"),
    ],
)
def test_a_signal_with_nan_is_refused_when_it_is_added(
    tmp_path: Path, codec: Codec[Any], broken: Signal
) -> None:
    artifact = begin_artifact(tmp_path / "s", kind="signal", stage="capture", config={})
    store = SignalWriter(artifact, codec)
    with pytest.raises(ShapeError, match=rf"\(key {key(3)[:12]}\) holds NaN"):
        store.add(key(3), broken)
    assert store.close() == 0
    artifact.release()


def test_other_text_is_refused(tmp_path: Path) -> None:
    reader = SignalReader(write(tmp_path / "s", ROWS))
    with pytest.raises(IntegrityError, match=r"no signal for an example \(key abcdef01abcd\)"):
        reader.read("abcdef01" * 8)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    artifact = write(tmp_path / "s", ROWS)
    shard = artifact.path / "signal-00000.safetensors"
    shard.write_bytes(b"\xff" * shard.stat().st_size)
    with pytest.raises(IntegrityError, match=r"signal-00000\.safetensors is damaged"):
        SignalReader(open_artifact(artifact.path)).read(key(0))


def test_arrays_that_were_read_may_be_written(tmp_path: Path) -> None:
    reader = SignalReader(write(tmp_path / "s", ROWS))
    reader.read(key(3)).logprobs[:] = 0.0
    assert_same(reader.read(key(3)), ROWS[key(3)])


def test_a_reader_keeps_no_more_than_it_is_allowed(tmp_path: Path) -> None:
    rows = {key(n): signal(1_100, seed=n) for n in range(12)}  # a block each
    artifact = write(tmp_path / "s", rows, part_tokens=3_000)
    block_bytes = 1_100 * (K * 8 + 4)
    reader = SignalReader(artifact, cache_bytes=3 * block_bytes)
    for name, value in [*rows.items(), *rows.items()]:
        assert_same(reader.read(name), value)
        assert reader.cached_bytes <= 3 * block_bytes
    assert reader.cached_bytes == 3 * block_bytes


def test_damage_to_a_key_is_told_from_a_missing_row(tmp_path: Path) -> None:
    artifact = write(tmp_path / "s", ROWS)
    shard = artifact.path / "signal-00000.safetensors"
    content = shard.read_bytes()
    stored = bytes.fromhex(key(2))
    assert content.count(stored) == 1
    shard.write_bytes(content.replace(stored, bytes(32)))
    with pytest.raises(IntegrityError, match="does not match its checksum"):
        SignalReader(open_artifact(artifact.path)).read(key(2))


def test_parts_of_two_codecs_are_no_signal(tmp_path: Path) -> None:
    artifact = write(tmp_path / "s", ROWS)
    row = TopKSignal.of([[1, 2]], np.log([[0.5, 0.25]]))
    write_part(artifact.path / "signal-00001.safetensors", [(key(50), row)], TopKCodec(2))
    with pytest.raises(IntegrityError, match=r"00001.*'top_k': 2.*other parts.*'top_k': 4"):
        SignalReader(Artifact(artifact.path, artifact.manifest))


def dataset(folder: Path, teacher: str = TEACHER) -> Artifact:
    writer = begin_artifact(folder, kind="dataset", stage="curate", config={})
    return writer.finish(
        counts=Counts(num_in=9, kept=9),
        teacher=TeacherRef(id="local:t", provider="local", revision=teacher),
    )


def captured(folder: Path, parent: Artifact, **changes: str) -> Artifact:
    prints = {"teacher": TEACHER, "tokenizer": TOKENIZER, "template": TEMPLATE, **changes}
    with writing(folder, parents=[parent]) as (artifact, store):
        store.close()
        return finish(
            artifact,
            teacher=TeacherRef(id="local:t", provider="local", revision=prints["teacher"]),
            tokenizer_sha256=prints["tokenizer"],
            chat_template_sha256=prints["template"],
        )


def check(signal: Artifact, dataset: Artifact) -> None:
    check_fingerprints(
        signal, dataset=dataset, vocabulary_sha256=TOKENIZER, template_sha256=TEMPLATE
    )


def test_a_signal_made_for_this_dataset_and_student_is_accepted(tmp_path: Path) -> None:
    parent = dataset(tmp_path / "d")
    check(captured(tmp_path / "s", parent), parent)


@pytest.mark.parametrize(
    ("changed", "named"),
    [("teacher", "teacher"), ("tokenizer", "tokenizer"), ("template", "chat template")],
)
def test_each_fingerprint_that_differs_is_refused_by_name(
    changed: str, named: str, tmp_path: Path
) -> None:
    parent = dataset(tmp_path / "d")
    other = captured(tmp_path / "s", parent, **{changed: "e" * 64})
    with pytest.raises(VocabularyMismatchError, match=f"another {named} \\(eeeeeeeeeeee, needed"):
        check(other, parent)


def test_a_signal_without_fingerprints_is_refused(tmp_path: Path) -> None:
    parent = dataset(tmp_path / "d")
    bare = write(tmp_path / "s", ROWS, parents=[parent])
    with pytest.raises(VocabularyMismatchError, match="none recorded, needed aaaaaaaaaaaa"):
        check(bare, parent)


def test_a_signal_of_another_dataset_is_refused(tmp_path: Path) -> None:
    parent, other = dataset(tmp_path / "d"), dataset(tmp_path / "other")
    assert parent.manifest_sha256 != other.manifest_sha256
    with pytest.raises(IntegrityError, match="captured on another dataset"):
        check(captured(tmp_path / "s", other), parent)
