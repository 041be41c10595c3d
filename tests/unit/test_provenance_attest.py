"""Attestations of artefacts: what is signed, and whom a lineage must be signed by."""

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from artifact_chains import (
    edit_manifest,
    listing,
    make_artifact,
    make_chain,
    manifest_sha256,
    prompts,
)
from signing_cases import DAY, make_key, payload_of, trust_of

from stillhouse.artifacts import (
    ATTESTATIONS_NAME,
    Artifact,
    Counts,
    FolderLock,
    Kind,
    StudentInfo,
    TeacherRef,
    begin_artifact,
    hold_artifact,
    open_artifact,
)
from stillhouse.errors import ConfigError, FolderBusyError, IntegrityError, SignatureError
from stillhouse.provenance import (
    DISTILLATION_TYPE,
    SLSA_TYPE,
    attest,
    check_attestations,
    check_signed,
    distillation_predicate,
    distillation_schema,
    lineage,
    read_attestations,
    verify,
)
from stillhouse.provenance._attestations import statements_of
from stillhouse.records import Prompt, Usage
from stillhouse.signing import PrivateKey, open_envelope, sign, sign_revocation

CLAUSE = {
    "id": "s.1",
    "url": "https://x.example",
    "date": "2026-02-01",
    "text_sha256": "ef" * 32,
    "disputed": True,
}
TERMS = {
    "registry_version": "2026.11",
    "registry_sha256": "cd" * 32,
    "verdict": "allow_with_duties",
    "findings": [
        {"source": "x", "clauses": [{**CLAUSE, "summary": "may be used"}]},
        {"source": "y", "clauses": [{**CLAUSE, "summary": "may be used"}]},
    ],
}


def made(folder: Path, kind: Any, parents: Sequence[Artifact] = (), **finish: Any) -> Artifact:
    """An artefact of any kind, with what its stage would record."""
    writer = begin_artifact(
        folder, kind=kind, stage=kind, config={"n": 1}, config_given={"n": 1}, parents=parents
    )
    writer.write_rows("prompts", prompts(2), Prompt)
    return writer.finish(counts=Counts(num_in=2, kept=2), **finish)


def made_run(folder: Path) -> Artifact:
    """Completions, dataset, signal, student and the evaluation that is returned."""
    teacher = TeacherRef(id="openai:gpt-5", provider="openai", revision="gpt-5-2026-01-01")
    completions = made(
        folder / "completions",
        "completions",
        teacher=teacher,
        usage=Usage(prompt_tokens=10, completion_tokens=20, cost_usd=0.5, seconds=9),
        results={"terms": TERMS},
    )
    dataset = made(folder / "dataset", "dataset", [completions], teacher=teacher, usage=_FREE)
    signal = made(
        folder / "signal", "signal", [dataset], usage=_FREE, results={"codec": {"name": "topk"}}
    )
    student = made(
        folder / "student",
        "student",
        [dataset, signal],
        teacher=teacher,
        student=StudentInfo(base="smollm2", revision="ab" * 32),
        tokenizer_sha256="12" * 32,
        chat_template_sha256="34" * 32,
        seeds={"train": 7},
        usage=_FREE,
    )
    return made(
        folder / "evaluation",
        "evaluation",
        [student],
        usage=_FREE,
        results={"verdict": "no worse within 0.02"},
    )


_FREE = Usage(cost_usd=0.0)


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    (tmp_path / "keys").mkdir()
    return key_in(tmp_path / "keys", "lab")


def key_in(folder: Path, name: str) -> PrivateKey:
    start = clock() - DAY
    return make_key(folder, name, start=start, end=start + 60 * DAY)


def clock() -> datetime:
    return datetime.now(UTC)


def statements(folder: Path) -> dict[str, dict[str, Any]]:
    payloads = map(payload_of, read_attestations(folder))
    return {payload["predicateType"]: payload["predicate"] for payload in payloads}


def test_an_artefact_is_signed_with_two_statements_about_its_manifest(
    key: PrivateKey, tmp_path: Path
) -> None:
    child = make_chain(tmp_path)
    before = listing(tmp_path)
    signed = attest(child.path, key, now=clock())
    assert [one.predicate_type for one in signed] == [DISTILLATION_TYPE, SLSA_TYPE]
    assert {one.signer for one in signed} == {"lab"}
    after = listing(tmp_path)
    assert after.keys() - before.keys() == {f"child/{ATTESTATIONS_NAME}"}
    assert before.items() <= after.items()
    for envelope in read_attestations(child.path):
        (subject,) = open_envelope(envelope).subjects
        assert (subject.name, subject.sha256) == ("child", child.manifest_sha256)
    verify(child.path)


def test_the_predicate_says_what_the_manifests_say(key: PrivateKey, tmp_path: Path) -> None:
    evaluation = made_run(tmp_path)
    attest(evaluation.path, key, now=clock())
    found = statements(evaluation.path)[DISTILLATION_TYPE]
    hashes = {node.path.name: node.manifest_sha256 for node in lineage(evaluation.path).nodes}
    assert found["teachers"] == [
        {
            "id": "openai:gpt-5",
            "provider": "openai",
            "revision": "gpt-5-2026-01-01",
            "recorded_by": hashes["completions"],
        }
    ]
    assert found["base_model"] == {"base": "smollm2", "revision": "ab" * 32}
    assert (found["tokenizer_sha256"], found["chat_template_sha256"]) == ("12" * 32, "34" * 32)
    assert [one["manifest_sha256"] for one in found["datasets"]] == [hashes["dataset"]]
    assert found["signals"] == [{"manifest_sha256": hashes["signal"], "codec": {"name": "topk"}}]
    assert found["verdicts"] == [
        {
            "manifest_sha256": hashes["evaluation"],
            "stage": "evaluation",
            "verdict": "no worse within 0.02",
        }
    ]
    (terms,) = found["terms"]
    assert (terms["manifest_sha256"], terms["verdict"]) == (
        hashes["completions"],
        "allow_with_duties",
    )
    assert terms["clauses"] == [CLAUSE]
    assert found["usage"]["cost_usd"] == 0.5
    assert (found["usage"]["prompt_tokens"], found["usage"]["completion_tokens"]) == (10, 20)
    assert [one["manifest_sha256"] for one in found["lineage"]] == [*hashes.values()]
    assert found["lineage"][3]["parents"] == [hashes["dataset"], hashes["signal"]]
    assert found["artifact"]["manifest_sha256"] == hashes["evaluation"]


def test_an_unknown_cost_makes_the_sum_unknown(tmp_path: Path) -> None:
    first = made(tmp_path / "a", "completions", usage=Usage(cost_usd=1.0))
    second = made(tmp_path / "b", "dataset", [first], usage=Usage(cost_usd=None))
    assert distillation_predicate(lineage(second.path))["usage"]["cost_usd"] is None


def test_several_teachers_are_named_each(tmp_path: Path) -> None:
    several = TeacherRef(id="a + b", provider="several", revision=None)
    rows = [{"teacher": name, "num_completions": 1} for name in ("a", "b", "a")]
    first = made(tmp_path / "a", "completions", teacher=several, results={"by_teacher": rows})
    found = distillation_predicate(lineage(first.path))["teachers"]
    assert [(one["id"], one["provider"]) for one in found] == [("a", "several"), ("b", "several")]


def test_the_slsa_provenance_has_the_fields_of_its_specification(
    key: PrivateKey, tmp_path: Path
) -> None:
    student = open_artifact(made_run(tmp_path).path.parent / "student")
    attest(student.path, key, now=clock())
    found = statements(student.path)[SLSA_TYPE]
    assert found.keys() == {"buildDefinition", "runDetails", "stillhouse_signer"}
    build, run = found["buildDefinition"], found["runDetails"]
    assert build["externalParameters"] == {"stage": "student", "config": {"n": 1}}
    assert build["internalParameters"]["seeds"] == {"train": 7}
    names = [one["name"] for one in build["resolvedDependencies"]]
    assert names[:2] == ["parent ../dataset", "parent ../signal"]
    assert names[-2:] == ["teacher openai:gpt-5", "base model smollm2"]
    # "At least one of uri, digest, content": in-toto's ResourceDescriptor v1.
    assert all(one.keys() & {"uri", "digest"} for one in build["resolvedDependencies"])
    assert run["metadata"]["invocationId"] == student.manifest_sha256
    assert run["metadata"]["finishedOn"].endswith("Z")


def test_the_protocol_buffers_of_in_toto_accept_both_statements(
    key: PrivateKey, tmp_path: Path
) -> None:
    statement_pb = pytest.importorskip("in_toto_attestation.v1.statement_pb2")
    theirs = pytest.importorskip("in_toto_attestation.v1.statement")
    provenance_pb = pytest.importorskip(
        "in_toto_attestation.predicates.provenance.v1.provenance_pb2"
    )
    from google.protobuf import json_format

    student = made_run(tmp_path).path.parent / "student"
    attest(student, key, now=clock())
    for envelope in read_attestations(student):
        # Both parse strictly: a field that their schema does not have is an error.
        found = json_format.Parse(envelope.payload, statement_pb.Statement())
        theirs.Statement.copy_from_pb(found).validate()
    slsa = payload_of(read_attestations(student)[1])["predicate"]
    assert slsa.pop("stillhouse_signer")
    provenance = json_format.ParseDict(slsa, provenance_pb.Provenance())
    dependencies = provenance.build_definition.resolved_dependencies
    assert {one.name for one in dependencies} >= {"teacher openai:gpt-5", "base model smollm2"}
    assert provenance.run_details.metadata.finished_on.seconds > 0


def test_one_lineage_gives_one_predicate(tmp_path: Path) -> None:
    evaluation = made_run(tmp_path / "here")
    first = distillation_predicate(lineage(evaluation.path))
    (tmp_path / "here").rename(tmp_path / "there")
    assert distillation_predicate(lineage(tmp_path / "there" / "evaluation")) == first


def test_the_schema_refuses_whatever_it_does_not_name() -> None:
    def objects(schema: Any) -> list[dict[str, Any]]:
        if isinstance(schema, list):
            return [found for one in schema for found in objects(one)]
        if not isinstance(schema, dict):
            return []
        inner = [found for one in schema.values() for found in objects(one)]
        return [schema, *inner] if "properties" in schema else inner

    found = objects(distillation_schema())
    assert len(found) >= 10
    for schema in found:
        assert schema["additionalProperties"] is False
        assert sorted(schema["required"]) == sorted(schema["properties"])


def test_the_schema_knows_every_kind_of_artefact() -> None:
    assert distillation_schema()["$defs"]["kind"]["enum"] == list(get_args(Kind))


@pytest.mark.parametrize(
    "terms",
    [
        {"verdict": "perhaps"},
        {**TERMS, "verdict": "perhaps"},
        {**TERMS, "findings": [{"clauses": [{**CLAUSE, "date": "yesterday"}]}]},
        {**TERMS, "findings": [{"clauses": [{"id": "x"}]}]},
        {**TERMS, "findings": 3},
        "allow",
    ],
)
def test_terms_of_another_form_are_not_signed(
    key: PrivateKey, tmp_path: Path, terms: object
) -> None:
    artifact = made(tmp_path / "a", "completions", results={"terms": terms})
    with pytest.raises(SignatureError, match="terms"):
        attest(artifact.path, key, now=clock())
    assert not (artifact.path / ATTESTATIONS_NAME).exists()


def test_a_key_signs_once_and_a_second_key_beside_it(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    attest(artifact.path, key, now=clock())
    before = (artifact.path / ATTESTATIONS_NAME).read_bytes()
    assert len(attest(artifact.path, key, now=clock())) == 2
    assert (artifact.path / ATTESTATIONS_NAME).read_bytes() == before
    second = key_in(tmp_path / "keys", "auditor")
    assert {one.signer for one in attest(artifact.path, second, now=clock())} == {"auditor"}
    found = check_attestations(artifact.path, now=clock())
    assert [one.signer for one in found] == ["lab", "lab", "auditor", "auditor"]
    assert (artifact.path / ATTESTATIONS_NAME).read_bytes().startswith(before)


def test_an_artefact_that_does_not_verify_is_not_signed(key: PrivateKey, tmp_path: Path) -> None:
    child = make_chain(tmp_path)
    notes = tmp_path / "grandparent" / "extra" / "notes.json"
    notes.write_bytes(b'{"a":2}\n')
    with pytest.raises(IntegrityError, match=r"notes\.json has changed"):
        attest(child.path, key, now=clock())
    assert not (child.path / ATTESTATIONS_NAME).exists()


def test_a_long_lineage_can_be_signed(key: PrivateKey, tmp_path: Path) -> None:
    make_artifact(tmp_path / "0")
    fields = orjson.loads((tmp_path / "0" / "manifest.json").read_bytes())
    for number in range(1, 1500):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "manifest.json").write_bytes(orjson.dumps(fields))
        above = {"path": f"../{number - 1}", "sha256": manifest_sha256(tmp_path / str(number - 1))}
        edit_manifest(folder, {"parents": [above], "files": [], "rows_root": None})
    graph = lineage(folder)
    assert [one.predicate_type for one in statements_of(graph)] == [DISTILLATION_TYPE, SLSA_TYPE]
    for statement in statements_of(graph):
        assert open_envelope(sign(statement, key, now=clock()))


def test_a_clock_in_the_past_is_named(key: PrivateKey, tmp_path: Path) -> None:
    child = make_chain(tmp_path)
    with pytest.raises(ConfigError, match="clock is in the past"):
        attest(child.path, key, now=clock() - DAY / 24)
    with pytest.raises(ConfigError, match="clock says"):
        attest(child.path, key, now=clock() + 90 * DAY)
    assert not (child.path / ATTESTATIONS_NAME).exists()
    assert not (child.path / ".work").exists()


def test_a_folder_that_somebody_writes_is_not_signed(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    (artifact.path / ".work").mkdir()
    lock = FolderLock(artifact.path / ".work" / "lock", owner=artifact.path)
    with pytest.raises(FolderBusyError):
        attest(artifact.path, key, now=clock())
    lock.remove()
    assert attest(artifact.path, key, now=clock())


def test_signers_at_once_lose_no_signature(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    (tmp_path / "keys").mkdir()
    keys = [key_in(tmp_path / "keys", f"key{number}") for number in range(8)]

    def sign_when_free(key: PrivateKey) -> None:
        while True:
            try:
                attest(artifact.path, key, now=clock())
                return
            except FolderBusyError:  # told to whoever comes second; nothing is lost by it
                time.sleep(0.001)

    with ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(sign_when_free, keys))
    found = check_attestations(artifact.path, now=clock())
    assert sorted(one.signer for one in found) == sorted(2 * [key.public.name for key in keys])
    assert not (artifact.path / ".work").exists()


def test_who_holds_an_artefact_and_lets_it_go_disturbs_nobody(tmp_path: Path) -> None:
    def hold(_: int) -> int:
        held = 0
        for _ in range(1500):
            with suppress(FolderBusyError), hold_artifact(tmp_path):
                held += 1
        return held

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(hold, range(8)))
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_nowhere_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".work").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError), hold_artifact(tmp_path):
        pass


def test_leftovers_of_a_killed_stage_do_not_stop_signing(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    (artifact.path / ".work").mkdir()
    (artifact.path / ".work" / "names").write_text("extra/notes.json\n")
    assert attest(artifact.path, key, now=clock())
    assert verify(artifact.path)


def test_a_killed_signer_leaves_an_artefact_that_verifies(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    (artifact.path / ".work").mkdir()
    (artifact.path / ".work" / "lock").touch()
    (artifact.path / ".work" / ATTESTATIONS_NAME).write_bytes(b"half a li")
    assert verify(artifact.path)
    assert check_attestations(artifact.path, now=clock()) == ()
    assert len(attest(artifact.path, key, now=clock())) == 2


def test_signatures_do_not_change_what_children_record(key: PrivateKey, tmp_path: Path) -> None:
    child = make_chain(tmp_path)
    attest(tmp_path / "left", key, now=clock())
    assert len(verify(child.path).artifacts) == 4
    assert attest(child.path, key, now=clock())


def test_signatures_go_with_the_artefact_that_is_replaced(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    attest(artifact.path, key, now=clock())
    writer = begin_artifact(
        artifact.path, kind="completions", stage="collect", config={"n": 4}, replace=True
    )
    assert not (artifact.path / ATTESTATIONS_NAME).exists()
    writer.finish(counts=Counts(num_in=0, kept=0))
    assert check_attestations(artifact.path, now=clock()) == ()


def test_no_manifest_may_list_the_signatures(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    files = orjson.loads((artifact.path / "manifest.json").read_bytes())["files"]
    edit_manifest(artifact.path, {"files": [{**files[0], "name": ATTESTATIONS_NAME}, *files]})
    with pytest.raises(IntegrityError, match="may not be listed"):
        verify(artifact.path)


def test_a_copy_of_an_artefact_keeps_its_signatures(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    attest(artifact.path, key, now=clock())
    shutil.copytree(artifact.path, tmp_path / "b")
    assert len(check_attestations(tmp_path / "b", now=clock())) == 2


def test_without_trust_the_signer_is_told_and_not_judged(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    attest(artifact.path, key, now=clock())
    (first, _) = check_attestations(artifact.path, now=clock())
    assert (first.signer, first.key_id, first.problem) == ("lab", key.key_id, None)


def test_with_trust_one_signer_that_counts_is_enough(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    eve = key_in(tmp_path / "keys", "eve")
    attest(artifact.path, eve, now=clock())
    trust = trust_of(tmp_path, key)
    with pytest.raises(SignatureError, match=r"'eve'.*does not have"):
        check_attestations(artifact.path, trust, now=clock())
    attest(artifact.path, key, now=clock())
    found = check_attestations(artifact.path, trust, now=clock())
    assert [one.problem is None for one in found] == [False, False, True, True]
    assert "'eve'" in (found[0].problem or "")


def test_half_a_signer_is_not_one(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    attest(artifact.path, key, now=clock())
    trust = trust_of(tmp_path, key, predicates={"lab": [SLSA_TYPE]})
    with pytest.raises(SignatureError, match="not trusted with statements"):
        check_attestations(artifact.path, trust, now=clock())


def test_a_lineage_must_be_signed_where_the_reader_asks(key: PrivateKey, tmp_path: Path) -> None:
    evaluation = made_run(tmp_path)
    graph, folder = lineage(evaluation.path), evaluation.path
    plain = trust_of(tmp_path, key)
    with pytest.raises(SignatureError, match="evaluation is not signed"):
        check_signed(graph, plain, now=clock())
    attest(folder, key, now=clock())
    found = check_signed(graph, plain, now=clock())
    assert [len(each) for each in found.values()] == [0, 0, 0, 0, 2]
    rule = {"kinds": ["student", "dataset"], "signed_by": ["lab"]}
    strict = trust_of(tmp_path, key, require=[rule])
    attest(tmp_path / "student", key, now=clock())
    with pytest.raises(SignatureError, match="dataset must be signed by lab"):
        check_signed(graph, strict, now=clock())
    attest(tmp_path / "dataset", key, now=clock())
    assert check_signed(graph, strict, now=clock())
    everything = trust_of(tmp_path, key, require=[{"kinds": ["*"], "signed_by": ["lab"]}])
    with pytest.raises(SignatureError, match="completions must be signed by lab"):
        check_signed(graph, everything, now=clock())


def test_a_rule_asks_for_the_key_and_not_for_its_name(key: PrivateKey, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    auditor = key_in(tmp_path / "keys", "auditor")
    (tmp_path / "eve").mkdir()
    claims_to_be_auditor = key_in(tmp_path / "eve", "auditor")
    rule = [{"kinds": ["*"], "signed_by": ["auditor"]}]
    trust = trust_of(tmp_path, key, auditor, require=rule)
    attest(artifact.path, key, now=clock())
    attest(artifact.path, claims_to_be_auditor, now=clock())
    with pytest.raises(SignatureError, match="must be signed by auditor"):
        check_signed(lineage(artifact.path), trust, now=clock())
    attest(artifact.path, auditor, now=clock())
    assert check_signed(lineage(artifact.path), trust, now=clock())
    by_id = [{"kinds": ["*"], "signed_by": [auditor.key_id]}]
    trust = trust_of(tmp_path, key, auditor, require=by_id)
    assert check_signed(lineage(artifact.path), trust, now=clock())


def test_strangers_may_sign_what_a_lineage_is_made_from(key: PrivateKey, tmp_path: Path) -> None:
    evaluation = made_run(tmp_path)
    eve = key_in(tmp_path / "keys", "eve")
    attest(tmp_path / "dataset", eve, now=clock())
    attest(evaluation.path, key, now=clock())
    graph = lineage(evaluation.path)
    found = check_signed(graph, trust_of(tmp_path, key), now=clock())
    (told, _) = found[tmp_path / "dataset"]
    assert "'eve'" in (told.problem or "")
    rule = [{"kinds": ["dataset"], "signed_by": ["lab"]}]
    with pytest.raises(SignatureError, match="dataset must be signed by lab"):
        check_signed(graph, trust_of(tmp_path, key, require=rule), now=clock())


def test_a_required_signature_that_does_not_count_says_why(key: PrivateKey, tmp_path: Path) -> None:
    evaluation = made_run(tmp_path)
    auditor = key_in(tmp_path / "keys", "auditor")
    attest(tmp_path / "dataset", auditor, now=clock())
    attest(evaluation.path, key, now=clock())
    revocation = sign_revocation(
        auditor.public, auditor, reason="compromised", date=clock(), now=clock(), why="stolen"
    )
    trust = trust_of(
        tmp_path,
        key,
        auditor,
        revocations=[revocation],
        require=[{"kinds": ["dataset"], "signed_by": ["auditor"]}],
    )
    with pytest.raises(SignatureError, match=r"dataset.*revoked as compromised.*stolen"):
        check_signed(lineage(evaluation.path), trust, now=clock())
