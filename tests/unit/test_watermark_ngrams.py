from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from detection_cases import TOKENIZER
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.watermark import NgramFilter, ngram_hashes


def filter_of(documents: list[list[int]], **settings: int) -> NgramFilter:
    width = settings.pop("width", 2)
    return NgramFilter.of(
        (ngram_hashes(ids, width) for ids in documents),
        context_width=width,
        tokenizer_sha256=TOKENIZER,
        **settings,
    )


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=12),
    st.integers(2, 4),
    st.lists(st.integers(0, 3), min_size=3, max_size=20),
)
@settings(deadline=None)
def test_what_is_common_is_counted_by_documents(
    documents: list[list[int]], least: int, asked: list[int]
) -> None:
    common = filter_of(documents, min_documents=least)
    counts: Counter[tuple[int, ...]] = Counter()
    for ids in documents:
        counts.update({tuple(ids[at - 2 : at + 1]) for at in range(2, len(ids))})
    expected = [counts[tuple(asked[at - 2 : at + 1])] >= least for at in range(2, len(asked))]
    assert common.holds(ngram_hashes(asked, 2)).tolist() == expected
    assert common.num_documents == len(documents)


def test_a_filter_comes_back_from_its_file(tmp_path: Path) -> None:
    common = filter_of([[1, 2, 3, 4]] * 3 + [[7, 8, 9]], min_documents=3)
    common.save(tmp_path / "common.ngrams")
    again = NgramFilter.load(tmp_path / "common.ngrams")
    assert (again.hashes_N == common.hashes_N).all()
    assert (again.context_width, again.tokenizer_sha256) == (2, TOKENIZER)
    assert (again.min_documents, again.num_documents) == (3, 4)
    common.save(tmp_path / "again.ngrams")
    first, second = (tmp_path / f"{name}.ngrams" for name in ("common", "again"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("place", [-1, 12, 300])
def test_a_changed_file_is_refused(tmp_path: Path, place: int) -> None:
    file = tmp_path / "common.ngrams"
    filter_of([[1, 2, 3, 4, 5, 6]] * 3, min_documents=3).save(file)
    raw = bytearray(file.read_bytes())
    raw[min(place, len(raw) - 2)] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(IntegrityError, match="calibrate"):
        NgramFilter.load(file)


def test_what_is_no_filter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file"):
        NgramFilter.load(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(IntegrityError, match="no filter"):
        NgramFilter.load(tmp_path / "empty")
    save_file({"hashes": np.zeros(3)}, tmp_path / "other")
    with pytest.raises(IntegrityError, match="no filter"):
        NgramFilter.load(tmp_path / "other")
    with pytest.raises(ConfigError, match="min_documents=1"):
        filter_of([[1, 2, 3]], min_documents=1)
    with pytest.raises(ConfigError, match="cannot be written"):
        filter_of([]).save(tmp_path / "no" / "folder")
