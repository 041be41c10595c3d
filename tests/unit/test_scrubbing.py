import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.collect import Scrubbed, scrub, scrub_row
from stillhouse.records import Completion, Message, Prompt, TokenLogprobs, Tool, ToolCall
from stillhouse.scrubbing._checksums import iban_is_valid, luhn_is_valid

# Put together here, so that no scanner takes this file for a leak.
_JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmN"
_PEM = (
    "-----BEGIN RSA PRIVATE" + " KEY-----\n" + "MIIEowIBAAKCAQEA7bq3\nq1Zk+/9a=\n"
    "-----END RSA PRIVATE" + " KEY-----"
)
_SECRETS = {
    "PRIVATE_KEY": _PEM,
    "JWT": _JWT,
    "ANTHROPIC_KEY": "sk-" + "ant-api03-" + "Zk3" * 12,
    "OPENAI_KEY": "sk-" + "proj-" + "aB3dE5" * 8,
    "GOOGLE_KEY": "AI" + "za" + "SyD3xK9_-" * 4,
    "AWS_KEY": "AK" + "IA" + "IOSFODNN7EXAMPLE",
    "GITHUB_TOKEN": "gh" + "p_" + "a1B2c3" * 6,
    "SLACK_TOKEN": "xo" + "xb-" + "123456789012-abcdefGHIJ",
    "STRIPE_KEY": "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "HF_TOKEN": "h" + "f_" + "abcdefGHIJ" * 3 + "abcd",
    "EMAIL": "ann.lee+news@mail.example.co.uk",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "CARD": "4111 1111 1111 1111",
    "SSN": "219-09-9999",
    "PHONE": "+44 20 7946 0958",
    "IP": "8.8.4.4",
}
_ORDINARY = (
    "Order 4111111111111112 of 2024-11-24 10:30:00 has 3.14159265358979 units at 127.0.0.1",
    "version 1.2.3, see RFC 2616, ISBN 978-3-16-148410-0, EC 3.1.1.11, v10.4.2.1",
    "x = a @ b.T; @app.route('/'); git@github.com:a/b.git; std::vector<int> a::b(c)",
    "The token: a small unit. password: see below. key = value; secret: the-long-quiet-river-bank",
    "scikit-learn, sk-learn-contributors-guide-for-everyone, task-force-of-the-many-and-few",
    "ids 000-12-3456 666-12-3456 219-00-1234 5a665549846392001a1e1ad8 DE00370400440532013000",
    "2001:db8::1 fe80::1 10.0.0.1 192.168.1.1 12:30:45 +12345",
    "[EMAIL_1] wrote to [PHONE_2]",
)


@pytest.mark.parametrize(("kind", "secret"), _SECRETS.items())
def test_each_kind_is_replaced_and_counted(kind: str, secret: str) -> None:
    scrubbed = scrub(f"before {secret} after")
    assert scrubbed.text == f"before [{kind}_1] after"
    assert scrubbed.counts == {kind: 1}


@pytest.mark.parametrize("text", _ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert scrub(text) == Scrubbed(text=text, counts={})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api_key = 'Zx81kQm2Lp09aWtr7Bn4'", "api_key = '[SECRET_1]'"),
        ('{"password": "hunter2!!x"}', '{"password": "[SECRET_1]"}'),
        ("Authorization: Bearer abcDEF1234567890xyzQRS", "Authorization: Bearer [SECRET_1]"),
        ("postgres://bob:s3cret@db/x", "postgres://[URL_CREDENTIALS_1]@db/x"),
        ("GB82WEST12345698765432.", "[IBAN_1]."),
        ("378282246310005 (Amex)", "[CARD_1] (Amex)"),
        ("card 4111-1111-1111-1111 12/27", "card [CARD_1] 12/27"),
        ("call (212) 555-0199 or 1-800-772-1213", "call [PHONE_1] or 1-[PHONE_2]"),
        ("ask 2001:4860:4860::8888", "ask [IP_1]"),
        ('"x\\nann@example.com"', '"x\\n[EMAIL_1]"'),
        ("...bo@example.org.", "...[EMAIL_1]."),
    ],
)
def test_a_value_is_replaced_where_it_stands(text: str, expected: str) -> None:
    assert scrub(text).text == expected


def test_the_same_value_has_the_same_placeholder() -> None:
    text = "a@example.com, b@example.com and again a@example.com"
    assert scrub(text).text == "[EMAIL_1], [EMAIL_2] and again [EMAIL_1]"
    assert scrub(text).counts == {"EMAIL": 3}


def test_a_placeholder_that_was_there_is_not_given_to_another_value() -> None:
    assert scrub("[EMAIL_3] and a@example.com").text == "[EMAIL_3] and [EMAIL_4]"


@pytest.mark.parametrize("length", [2, 13, 16, 19])
def test_luhn_accepts_one_check_digit_in_ten(length: int) -> None:
    stem = "49927398716049927398"[: length - 1]
    valid = [digit for digit in "0123456789" if luhn_is_valid(f"{stem}{digit}".encode())]
    assert len(valid) == 1


def test_an_iban_with_two_digits_exchanged_is_none() -> None:
    assert iban_is_valid("DE89370400440532013000")
    assert not iban_is_valid("DE89370400440532010300")
    assert not iban_is_valid("DE8937040044053201300")


_pieces = st.lists(
    st.one_of(
        st.sampled_from([*_SECRETS.values(), *_ORDINARY]),
        st.sampled_from([" ", "\n", ".", ",", "-", "+", "1", "4", "(", "@", ":", "=", "key", "a"]),
        st.text(max_size=8),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(_pieces)
def test_scrubbing_again_changes_nothing(pieces: list[str]) -> None:
    once = scrub("".join(pieces)).text
    assert scrub(once).text == once
    assert scrub(once).counts == {}


@settings(max_examples=100, deadline=None)
@given(_pieces, st.sampled_from(sorted(_SECRETS)))
def test_no_secret_that_stands_apart_gets_through(pieces: list[str], kind: str) -> None:
    text = f"{''.join(pieces)}\n\n{_SECRETS[kind]}\n\n{''.join(pieces)}"
    assert f"\n\n{_SECRETS[kind]}\n\n" not in scrub(text).text


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Nd", "Cs"], exclude_characters="@:=")))
def test_text_without_a_match_is_unchanged(text: str) -> None:
    assert scrub(text).text == text


_HOSTILE = {
    "one word": "a",
    "one number": "1",
    "ats": "a@",
    "domains": "a@a.",
    "card groups": "4444 ",
    "iban heads": "DE89 ",
    "jwt heads": "eyJaaaaaaaaa.",
    "key names": "key=",
    "key names apart": 'key = "',
    "pem heads": "-----BEGIN PRIVATE" + " KEY-----aaaa",
    "urls": "://aaaa:aaaa",
    "phones": "+1 1 1",
    "colons": "2001:",
    "octets": "1.1.",
    "placeholders": "[EMAIL_1]",
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_text_takes_linear_time(name: str) -> None:
    piece = _HOSTILE[name]

    def cpu_s(num_chars: int) -> float:
        text = piece * (num_chars // len(piece))
        started_s = time.process_time()
        scrub(text)
        return time.process_time() - started_s

    # About 0.4 s on two cores of a cloud machine; a quadratic pattern needs hours.
    assert cpu_s(1_500_000) < 2.0


def _row(question: str, answer: str) -> tuple[Prompt, Completion]:
    prompt = Prompt(id="p", messages=(Message(role="user", content=question),))
    completion = Completion.model_validate(
        {
            "request_id": "r",
            "prompt_id": "p",
            "text": answer,
            "finish_reason": "stop",
            "model": "m",
            "created_utc": "2026-01-01T00:00:00Z",
            "logprobs": {"logprobs": (-0.5,), "tokens": (answer,)},
        }
    )
    return prompt, completion


def test_an_answer_that_copies_from_its_prompt_still_copies() -> None:
    prompt, completion = _row("Is it a@x.org or b@x.org?", "It is b@x.org.")
    row = scrub_row(prompt, completion)
    assert row.prompt.messages[0].content == "Is it [EMAIL_1] or [EMAIL_2]?"
    assert row.completion.text == "It is [EMAIL_2]."
    assert row.counts == {"EMAIL": 3}


def test_logprobs_do_not_spell_out_what_was_removed() -> None:
    assert scrub_row(*_row("Who?", "a@x.org")).completion.logprobs is None
    kept = scrub_row(*_row("Who?", "Nobody.")).completion.logprobs
    assert kept == TokenLogprobs(logprobs=(-0.5,), tokens=("Nobody.",))


def test_every_text_of_a_row_is_scrubbed() -> None:
    prompt, completion = _row("hi", "ho")
    call = ToolCall(id="c", name="send", arguments='{"to": "a@x.org"}')
    asked = Message(role="assistant", content="", tool_calls=(call,), reasoning="a@x.org?")
    told = Message(role="tool", content="sent to a@x.org", tool_call_id="c")
    tool = Tool(name="send", description="Ask a@x.org", parameters="{}")
    row = scrub_row(
        prompt.model_copy(update={"messages": (*prompt.messages, asked, told), "tools": (tool,)}),
        completion.model_copy(update={"tool_calls": (call,), "reasoning": "to a@x.org"}),
    )
    assert "x.org" not in row.prompt.model_dump_json() + row.completion.model_dump_json()
    assert row.counts == {"EMAIL": 6}
