"""The mock provider's batches: states, order, expiry, and answers that never arrive."""

import http.client
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from mock_calls import body_of, call, headers_of
from tests.mock_provider import MockProvider, headline

_ANTHROPIC = headers_of("anthropic")
_GEMINI = headers_of("gemini")
_TEXTS = [f"rain number {number} of the long day" for number in range(6)]


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def upload(provider: MockProvider, content: bytes) -> str:
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--edge--\r\n",
    ]
    headers = {"content-type": "multipart/form-data; boundary=edge"}
    return call(provider, "POST", "/v1/files", b"".join(parts), headers).json["id"]  # type: ignore[no-any-return]


def openai_lines(texts: list[str]) -> bytes:
    rows = [
        {
            "custom_id": f"r{at}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body_of("openai_chat", text),
        }
        for at, text in enumerate(texts)
    ]
    return b"\n".join(orjson.dumps(row) for row in rows)


def openai_batch(provider: MockProvider, texts: list[str], **more: Any) -> dict[str, Any]:
    body = {
        "input_file_id": upload(provider, openai_lines(texts)),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        **more,
    }
    return call(provider, "POST", "/v1/batches", body).json  # type: ignore[no-any-return]


def anthropic_body(texts: list[str]) -> dict[str, Any]:
    params = [body_of("anthropic", text) for text in texts]
    return {"requests": [{"custom_id": f"r{at}", "params": each} for at, each in enumerate(params)]}


def looked_at(provider: MockProvider, path: str, times: int = 1) -> dict[str, Any]:
    headers = _ANTHROPIC if "messages" in path else _GEMINI if "v1beta" in path else {}
    return [call(provider, "GET", path, headers=headers) for _ in range(times)][-1].json  # type: ignore[no-any-return]


def rows_of(provider: MockProvider, file_id: str) -> list[dict[str, Any]]:
    content = call(provider, "GET", f"/v1/files/{file_id}/content").body
    return [orjson.loads(line) for line in content.splitlines()]


def test_an_uploaded_file_comes_back_byte_for_byte(provider: MockProvider) -> None:
    content = b'{"a":"\xe2\x80\xa8\r\n--edg"}\n\x0b\n'
    name = upload(provider, content)
    assert call(provider, "GET", f"/v1/files/{name}/content").body == content


def test_results_come_in_another_order_and_are_the_online_answers(provider: MockProvider) -> None:
    batch = openai_batch(provider, _TEXTS)
    done = looked_at(provider, f"/v1/batches/{batch['id']}", 3)
    rows = rows_of(provider, done["output_file_id"])
    assert [row["custom_id"] for row in rows] != [f"r{at}" for at in range(6)]
    texts = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in rows
    }
    assert texts == {f"r{at}": headline(text) for at, text in enumerate(_TEXTS)}
    assert done["usage"]["output_tokens"] == provider.world.paid_completion_tokens > 0


def test_an_expired_batch_keeps_what_was_done(provider: MockProvider) -> None:
    provider.change(batch={"expired_fraction": 0.5, "polls": 0})
    done = looked_at(provider, f"/v1/batches/{openai_batch(provider, _TEXTS)['id']}")
    assert done["status"] == "expired"
    assert len(rows_of(provider, done["output_file_id"])) == 3
    errors = rows_of(provider, done["error_file_id"])
    assert {row["error"]["code"] for row in errors} == {"batch_expired"}
    assert (len(errors), provider.world.num_paid) == (3, 3)


def test_a_batch_takes_its_time_however_often_it_is_looked_at(provider: MockProvider) -> None:
    provider.change(batch={"seconds": 0.4, "polls": 0})
    path = f"/v1/batches/{openai_batch(provider, _TEXTS)['id']}"
    assert looked_at(provider, path, 5)["status"] == "finalizing"
    time.sleep(0.45)
    assert looked_at(provider, path)["status"] == "completed"


def test_a_whole_batch_can_fail(provider: MockProvider) -> None:
    provider.change(batch={"is_failing": True, "polls": 0})
    done = looked_at(provider, f"/v1/batches/{openai_batch(provider, _TEXTS)['id']}")
    assert (done["status"], done["output_file_id"]) == ("failed", None)
    assert done["errors"]["data"][0]["message"]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (b"", "invalid_file"),
        (openai_lines(["x"]) + b"\n" + openai_lines(["y"]), "duplicate_custom_id"),
        (openai_lines(["x"]).replace(b"/v1/chat", b"/v1/other"), "mismatched_endpoint"),
        (b'{"custom_id":"a"}', "invalid_json_line"),
    ],
)
def test_bad_input_files_fail_the_batch(provider: MockProvider, lines: bytes, code: str) -> None:
    body = {
        "input_file_id": upload(provider, lines),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    made = call(provider, "POST", "/v1/batches", body).json
    done = looked_at(provider, f"/v1/batches/{made['id']}")
    assert (done["status"], done["errors"]["data"][0]["code"]) == ("failed", code)


def test_a_batch_whose_answer_was_lost_can_be_found_and_adopted(provider: MockProvider) -> None:
    provider.change(faults=["lost:method=POST,path=/batches,first=1"])
    dropped = (ConnectionError, http.client.HTTPException)
    with pytest.raises(dropped):
        openai_batch(provider, _TEXTS, metadata={"run": "r1"})
    listed = call(provider, "GET", "/v1/batches").json["data"]
    assert [batch["metadata"] for batch in listed] == [{"run": "r1"}]
    provider.change(faults=["lost:method=POST,path=/batches,first=1,seed=1"])
    with pytest.raises(dropped):
        call(provider, "POST", "/v1/messages/batches", anthropic_body(_TEXTS), _ANTHROPIC)
    listed = looked_at(provider, "/v1/messages/batches")["data"]
    assert listed[0]["request_counts"]["processing"] == 6


def test_anthropic_batches_refuse_bad_names_and_hide_counts(provider: MockProvider) -> None:
    path = "/v1/messages/batches"
    bad = anthropic_body(["x"])
    bad["requests"][0]["custom_id"] = "no spaces"
    assert call(provider, "POST", path, bad, _ANTHROPIC).status == 400
    twice = {"requests": anthropic_body(["x"])["requests"] * 2}
    assert "unique" in call(provider, "POST", path, twice, _ANTHROPIC).json["error"]["message"]
    made = call(provider, "POST", path, anthropic_body(_TEXTS), _ANTHROPIC).json
    early = call(provider, "GET", f"{path}/{made['id']}/results", headers=_ANTHROPIC)
    assert early.status == 404
    assert looked_at(provider, f"{path}/{made['id']}", 2)["request_counts"]["succeeded"] == 0
    assert looked_at(provider, f"{path}/{made['id']}")["request_counts"]["succeeded"] == 6


def test_a_bad_request_in_an_anthropic_batch_is_an_errored_result(provider: MockProvider) -> None:
    provider.change(batch={"polls": 0})
    body = anthropic_body(["x"])
    body["requests"][0]["params"]["temperature"] = 2
    made = call(provider, "POST", "/v1/messages/batches", body, _ANTHROPIC).json
    path = f"/v1/messages/batches/{made['id']}"
    done = looked_at(provider, path)
    results = call(provider, "GET", f"{path}/results", headers=_ANTHROPIC).json
    assert done["request_counts"]["errored"] == 1
    assert results["result"]["error"]["error"]["type"] == "invalid_request_error"


def test_gemini_batches_expire_whole_or_in_part(provider: MockProvider) -> None:
    def run(fraction: float) -> dict[str, Any]:
        provider.change(batch={"polls": 0, "expired_fraction": fraction, "order_seed": None})
        requests = [
            {"request": body_of("gemini", text), "metadata": {"key": f"k{at}"}}
            for at, text in enumerate(_TEXTS)
        ]
        batch = {"displayName": "run", "inputConfig": {"requests": {"requests": requests}}}
        path = "/v1beta/models/mock-small:batchGenerateContent"
        made = call(provider, "POST", path, {"batch": batch}, _GEMINI).json
        return looked_at(provider, f"/v1beta/{made['name']}")

    half = run(0.5)
    rows = half["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]
    assert half["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    assert ["error" in row for row in rows] == [False] * 3 + [True] * 3
    assert half["metadata"]["batchStats"]["failedRequestCount"] == "3"
    none = run(1.0)
    assert (none["metadata"]["state"], none["done"]) == ("BATCH_STATE_EXPIRED", True)
    assert "response" not in none


def test_a_download_can_be_cut_and_fetched_again(provider: MockProvider) -> None:
    provider.change(batch={"polls": 0}, faults=["cut:path=/content,first=1"])
    done = looked_at(provider, f"/v1/batches/{openai_batch(provider, _TEXTS)['id']}")
    with pytest.raises(http.client.IncompleteRead):
        rows_of(provider, done["output_file_id"])
    assert len(rows_of(provider, done["output_file_id"])) == 6
