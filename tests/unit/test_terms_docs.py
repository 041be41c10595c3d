"""docs/terms.md: what it shows can be used as it stands."""

import re
from pathlib import Path

import pytest
import yaml

from stillhouse.terms import Declaration, load_terms

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "terms.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def test_the_declarations_are_valid_and_name_sources_that_are_there(tmp_path: Path) -> None:
    shown = [block for block in BLOCKS if "sources" not in block]
    assert len(shown) == 2
    for block in shown:
        declaration = Declaration.model_validate(block)
        path = tmp_path / "terms.yaml"
        # Its waivers and whom to trust are files of the reader.
        plain = {name: value for name, value in block.items() if name not in ("waivers", "trust")}
        path.write_text(yaml.safe_dump(plain), encoding="utf-8")
        assert load_terms(path).declaration.licensee == declaration.licensee


def test_the_registry_is_one_that_is_taken(tmp_path: Path) -> None:
    (registry,) = [block for block in BLOCKS if "sources" in block]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(registry), encoding="utf-8")
    (tmp_path / "terms.yaml").write_text("registries: [mine.yaml]\n", encoding="utf-8")
    assert load_terms(tmp_path / "terms.yaml").registry.sources["acme-api"].owner == "ACME"


def test_the_python_runs_and_gives_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from terms_files import collection

    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.delenv("STILLHOUSE_TERMS")
    folder = collection(tmp_path / "student", {"mistral:m": 2})
    exec(compile(code.replace('"student"', repr(str(folder))), "docs/terms.md", "exec"), {})
    assert capsys.readouterr().out == "allow []\n"
