from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from cli_process import run_here, run_there

from stillhouse.cli._chat import _side_by_side
from stillhouse.cli._conversation import Conversation, chat_sampling
from stillhouse.errors import ConfigError
from stillhouse.records import ItemError, Message, Request
from stillhouse.runlog import Answer
from stillhouse.teachers import FakeTeacher, Pull, ScriptedAnswer, TeacherInfo

SAMPLING = chat_sampling(temperature=0.0, max_tokens=32)


class ListeningTeacher(FakeTeacher):
    """Answers as the fake does, and keeps what it was asked."""

    def __init__(self, *script: ScriptedAnswer) -> None:
        super().__init__(script=script or None)
        self.asked: list[tuple[Message, ...]] = []

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        def listen(num_wanted: int) -> list[Request]:
            requests = pull(num_wanted)
            self.asked += [request.messages for request in requests]
            return requests

        return super().stream(listen)


def _told(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def test_each_question_comes_with_all_before_it() -> None:
    teacher = ListeningTeacher()
    conversation = Conversation(teacher, system="Be brief.", sampling=SAMPLING)
    assert conversation.ask("first question").text == "First Question"
    conversation.ask("second question")
    assert _told(teacher.asked[1]) == [
        ("system", "Be brief."),
        ("user", "first question"),
        ("assistant", "First Question"),
        ("user", "second question"),
    ]


def test_only_local_weights_are_loaded_by_a_question_of_one_token() -> None:
    class Local(ListeningTeacher):
        @property
        def info(self) -> TeacherInfo:
            return TeacherInfo(id="local:x", provider="local")

    paid, local = ListeningTeacher(), Local()
    for teacher in (paid, local):
        conversation = Conversation(teacher, system=None, sampling=SAMPLING)
        conversation.load()
        conversation.ask("question")
    assert [_told(messages) for messages in paid.asked] == [[("user", "question")]]
    assert [_told(messages) for messages in local.asked] == [
        [("user", "Hello")],
        [("user", "question")],
    ]


def test_reset_keeps_only_the_system_message() -> None:
    teacher = ListeningTeacher()
    conversation = Conversation(teacher, system="Be brief.", sampling=SAMPLING)
    conversation.ask("first question")
    conversation.reset()
    conversation.ask("second question")
    assert _told(teacher.asked[1]) == [("system", "Be brief."), ("user", "second question")]


def test_a_question_that_fails_is_forgotten() -> None:
    error = ItemError(type="odd", message="it broke")
    teacher = ListeningTeacher(
        ScriptedAnswer(match="bad", finish_reason="error", error=error),
        ScriptedAnswer(match="good", text="yes"),
    )
    conversation = Conversation(teacher, system=None, sampling=SAMPLING)
    assert conversation.ask("bad").error == "it broke"
    assert conversation.ask("good").error is None
    assert _told(teacher.asked[1]) == [("user", "good")]


def test_control_characters_of_a_model_never_reach_the_terminal() -> None:
    teacher = ListeningTeacher(ScriptedAnswer(match="", text="a\x1b[2J\tb\nc\x9b1m"))
    answer = Conversation(teacher, system=None, sampling=SAMPLING).ask("x")
    assert answer.text == "a [2J\tb\nc 1m"
    assert answer.document()["text"] == "a\x1b[2J\tb\nc\x9b1m"


def test_two_answers_stand_side_by_side_where_there_is_room() -> None:
    long_text = "[bold]word " * 12
    teacher = ListeningTeacher(
        ScriptedAnswer(match="q", text=long_text), ScriptedAnswer(match="", text="short")
    )
    conversation = Conversation(teacher, system=None, sampling=SAMPLING)
    answers = {"student": conversation.ask("q"), "teacher": conversation.ask("q")}
    lines = _side_by_side(answers, 100).splitlines()
    assert all(line.count("[bold]word") in (0, 2, 4, 6, 8) for line in lines[1:])
    assert "student" in lines[0]
    assert "teacher" in lines[0]
    assert sum(line.count("[bold]word") for line in lines) == 24


def test_a_teacher_that_ends_without_an_answer_is_an_error() -> None:
    class Silent(FakeTeacher):
        @property
        def info(self) -> TeacherInfo:
            return TeacherInfo(id="silent", provider="fake")

        def stream(self, pull: Pull) -> Iterator[list[Answer]]:
            pull(1)
            return iter(())

    with pytest.raises(RuntimeError, match="silent ended without an answer"):
        Conversation(Silent(), system=None, sampling=SAMPLING).ask("x")


def test_flags_out_of_range_name_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"--max-tokens is 0; it must be greater than"):
        chat_sampling(temperature=0.0, max_tokens=0)


def test_one_question_gives_one_answer_with_its_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = run_here(capsys, "chat", "fake:", "--prompt", "ferry in Osaka")
    assert ran.code == 0
    text, figures = ran.out.splitlines()
    assert text == "Ferry Osaka"
    assert figures.startswith("[0.")
    assert "2 tokens" in figures


def test_one_question_to_both_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_here(
        capsys, "chat", "fake:", "--beside", "fake:", "--prompt", "ferry in Osaka", "--json"
    )
    document = ran.json()
    assert list(document) == ["student", "teacher"]
    assert document["student"]["text"] == document["teacher"]["text"] == "Ferry Osaka"
    assert document["student"]["usage"]["completion_tokens"] == 2
    assert document["student"]["latency_s"] >= 0


def test_an_answer_cut_at_the_limit_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_here(capsys, "chat", "fake:", "--prompt", "ferry in Osaka", "--max-tokens", "1")
    assert "cut at --max-tokens" in ran.out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["chat", "no-such-folder"], "There is no folder no-such-folder"),
        (["chat", "fake:", "--json"], "--json needs --prompt"),
        (["chat", "fkae:", "--prompt", "x"], "Did you mean 'fake:'?"),
        (["chat", ".", "--prompt", "x"], "not a model folder"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_here(capsys, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert part in ran.err
    assert ran.err.count("\n") == 1


def test_an_answer_that_failed_is_an_error_with_one_question(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    script = tmp_path / "s.jsonl"
    error = {"type": "odd", "message": "it broke"}
    script.write_bytes(orjson.dumps({"match": "x", "error": error}) + b"\n")
    ran = run_here(capsys, "chat", f"fake:{script}", "--prompt", "x", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "The student did not answer: it broke" in ran.err


def test_a_conversation_is_read_from_standard_input(tmp_path: Path) -> None:
    script = tmp_path / "s.jsonl"
    rows = [{"match": "first", "text": "one"}, {"match": "second", "text": "two"}]
    script.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    typed = "first\n\nsecond\n/reset\nsecond\n/odd\n/quit\nfirst\n"
    ran = run_there("chat", f"fake:{script}", "--beside", "fake:", cwd=tmp_path, stdin=typed)
    assert ran.code == 0
    # The script looks at the whole conversation, so "second" gets "one" until it is forgotten.
    lines = ran.out.splitlines()
    assert [lines[n + 1] for n, line in enumerate(lines) if line.startswith("student [")] == [
        "one",
        "one",
        "two",
    ]
    assert sum(line.startswith("teacher [") for line in lines) == 3
    assert "forgotten" in ran.err
    assert "/odd is no command" in ran.err
