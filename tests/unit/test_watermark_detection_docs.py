import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "watermark_detection.md").read_text()


def test_the_example_of_the_page_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "docs/watermark_detection.md", "exec"), {})


def test_the_page_tells_what_every_token_is() -> None:
    from stillhouse.watermark import Detection

    counted = {name for name in Detection.__dataclass_fields__ if name.startswith("num_")}
    named = set(re.findall(r"^\| `(num_\w+)` \|", PAGE, re.MULTILINE))
    assert named == counted - {"num_tokens", "num_scored"}
