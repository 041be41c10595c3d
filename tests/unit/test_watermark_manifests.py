"""Which artefacts carry the profile of what they were made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from stillhouse.artifacts import Artifact, Counts, WatermarkRef, begin_artifact
from stillhouse.artifacts._manifest import Kind

FIRST = WatermarkRef(scheme="gumbel", profile_id="1" * 64)
SECOND = WatermarkRef(scheme="kgw", profile_id="2" * 64)


def made(
    folder: Path,
    kind: Kind = "completions",
    parents: Sequence[Artifact] = (),
    watermark: WatermarkRef | None = None,
) -> Artifact:
    writer = begin_artifact(folder, kind=kind, stage="join", config={}, parents=parents)
    return writer.finish(counts=Counts(num_in=0, kept=0), watermark=watermark)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_texts_and_weights_carry_it_and_measurements_do_not(tmp_path: Path, kind: Kind) -> None:
    marked = made(tmp_path / "marked", watermark=FIRST)
    plain = made(tmp_path / "plain")
    child = made(tmp_path / "child", kind, [marked, plain])
    carries = kind not in ("evaluation", "cascade", "evidence")
    assert child.manifest.watermark == (FIRST if carries else None)
    grandchild = made(tmp_path / "grandchild", "dataset", [child])
    assert grandchild.manifest.watermark == child.manifest.watermark
    assert made(tmp_path / "other", kind, [plain]).manifest.watermark is None


def test_several_profiles_are_told_by_the_parents_alone(tmp_path: Path) -> None:
    parents = [
        made(tmp_path / "a", watermark=FIRST),
        made(tmp_path / "b", watermark=SECOND),
        made(tmp_path / "c", watermark=SECOND),
    ]
    assert made(tmp_path / "all", "dataset", parents).manifest.watermark is None
    assert made(tmp_path / "two", "dataset", parents[1:]).manifest.watermark == SECOND
    own = made(tmp_path / "own", "completions", parents, watermark=FIRST)
    assert own.manifest.watermark == FIRST
