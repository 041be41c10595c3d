import os
import time
from pathlib import Path

import pytest

from stillhouse.errors import RecordError
from stillhouse.graders import code

ADD = "def add(a, b):\n    return a + b\n"
TESTS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0\n"


def test_a_program_that_passes_its_tests_scores_one() -> None:
    assert code(ADD, TESTS) == 1.0
    assert code(f"Here you are:\n```python\n{ADD}```\nGood luck!", TESTS) == 1.0


@pytest.mark.parametrize(
    "program",
    [
        "def add(a, b):\n    return a - b\n",
        "def add(a, b:\n",
        "",
        "import sys\nsys.exit(0)",
        "import os\nos._exit(0)",
        "raise KeyboardInterrupt",
        "print('passed')",
        "x = 'a\x00b'",
        "```python\n```",
    ],
)
def test_a_program_that_does_not_scores_zero(program: str) -> None:
    assert code(program, TESTS) == 0.0


def test_a_program_that_prints_is_judged_by_its_tests() -> None:
    noisy = f"import sys\n{ADD}print('x' * 1_000_000)\nsys.stderr.write('y' * 1_000_000)\n"
    assert code(noisy, TESTS) == 1.0


def test_the_part_for_scripts_does_not_run() -> None:
    assert code(f"{ADD}if __name__ == '__main__':\n    1 / 0\n", TESTS) == 1.0


def test_a_program_that_does_not_end_is_stopped() -> None:
    begun = time.perf_counter()
    assert code("import time\ntime.sleep(60)", "pass", timeout_s=0.5) == 0.0
    assert code("while True: pass", "pass", timeout_s=0.5) == 0.0
    assert time.perf_counter() - begun < 10.0


def test_a_program_that_takes_all_memory_or_disk_is_stopped() -> None:
    assert code("x = bytearray(8 << 30)", "pass") == 0.0
    assert code("open('big', 'wb').write(bytes(64 << 20))", "pass") == 0.0


def test_a_program_reaches_its_folder_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("here")
    assert code("open('a', 'w').write('x')", "assert open('a').read() == 'x'") == 1.0
    assert code("import tempfile\nf = tempfile.NamedTemporaryFile()", "f.write(b'x')") == 1.0
    for program in (
        f"open({str(kept)!r}, 'w')",
        f"import os\nos.remove({str(kept)!r})",
        f"import os\nos.open({str(kept)!r}, os.O_WRONLY | os.O_TRUNC)",
        f"import os\nos.rename({str(kept)!r}, 'a')",
        f"import os\nos.chdir({str(tmp_path)!r})\nopen('new', 'w')",
        f"import os\nos.symlink({str(tmp_path)!r}, 'out')\nopen('out/new', 'w')",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true')",
        "import os\nos.fork()",
        "import os, signal\nos.kill(os.getppid(), signal.SIGTERM)",
        "import socket\nsocket.create_connection(('127.0.0.1', 9))",
    ):
        guarded = f"try:\n{_indented(program)}\n    held = False\n"
        guarded += "except PermissionError:\n    held = True\n"
        assert code(guarded, "assert held") == 1.0, program
    assert kept.read_text() == "here"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def _indented(program: str) -> str:
    return "\n".join(f"    {line}" for line in program.split("\n"))


def test_keys_and_proxies_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    names = "import os\nnames = set(os.environ)"
    assert code(names, "assert not names & {'SOME_API_KEY', 'HTTPS_PROXY'}") == 1.0
    assert os.environ["SOME_API_KEY"] == "secret"


def test_a_program_that_depends_on_the_order_of_a_set_scores_the_same_in_every_run() -> None:
    assert len({code("odd = hash('a') % 2", "assert odd") for _ in range(6)}) == 1


def test_tests_that_are_no_python_are_refused() -> None:
    with pytest.raises(RecordError, match="no Python"):
        code(ADD, "assert add(1, 2 == 3")
