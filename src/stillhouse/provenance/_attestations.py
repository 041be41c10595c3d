"""The signatures beside a manifest: `attestations.jsonl`, one envelope a line."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stillhouse.artifacts import ATTESTATIONS_NAME, Artifact
from stillhouse.errors import SignatureError
from stillhouse.provenance._distillation import (
    DISTILLATION_TYPE,
    check_schema,
    distillation_predicate,
)
from stillhouse.provenance._lineage import Lineage, lineage
from stillhouse.provenance._slsa import SLSA_TYPE, slsa_predicate
from stillhouse.records import canonical_json
from stillhouse.signing import (
    MAX_ENVELOPE_BYTES,
    Envelope,
    Statement,
    Subject,
    Trust,
    check_signer,
    check_subject,
    open_envelope,
    signer_of,
)

logger = logging.getLogger(__name__)

ATTESTED_TYPES = (DISTILLATION_TYPE, SLSA_TYPE)
_MAX_FILE_BYTES = 8 * MAX_ENVELOPE_BYTES


@dataclass(frozen=True)
class Attestation:
    """One signed statement about an artefact, whose every byte is what was signed.

    Attributes:
        predicate_type: What it says: a distillation, or SLSA provenance.
        signer: The name of the key, as the key itself has it.
        key_id: SHA-256 of the key.
        signed_utc: When, by the signer's clock.
        problem: Why it does not count for this reader; None where it counts, and where no trust
            file was given.
    """

    predicate_type: str
    signer: str
    key_id: str
    signed_utc: datetime
    problem: str | None = None


def read_attestations(folder: Path) -> tuple[Envelope, ...]:
    """The envelopes beside the manifest in `folder`; none where there is no such file.

    Raises:
        SignatureError: the file is a link, too large, cut off, holds a line twice, or a line that
            is no envelope.
    """
    path = folder / ATTESTATIONS_NAME
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise SignatureError(f"{path} is a link or no regular file. Put the real file there.")
    if not path.exists():
        return ()
    size = path.stat().st_size
    if size > _MAX_FILE_BYTES:
        raise SignatureError(
            f"{path} has {size:,} bytes; at most {_MAX_FILE_BYTES:,} are read. Stillhouse writes "
            "none so large."
        )
    raw = path.read_bytes()
    if not raw.endswith(b"\n"):
        raise SignatureError(f"{path} is empty or cut off: it ends within a line. Restore it.")
    lines = raw[:-1].split(b"\n")
    if len(set(lines)) != len(lines):
        raise SignatureError(f"{path} holds a line twice. Stillhouse writes none so; restore it.")
    return tuple(
        Envelope.parse(line, where=f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
    )


def check_attestations(
    folder: Path,
    trust: Trust | None = None,
    *,
    now: datetime,
    graph: Lineage | None = None,
) -> tuple[Attestation, ...]:
    """Check all that was signed about the artefact in `folder`.

    Without `trust` this finds what was changed: a byte, the artefact that was signed, what its
    lineage says. Whose keys they are is left open. With `trust`, each kind of statement that is
    there must be signed by somebody who counts; further signatures may be of others.

    Args:
        folder: The artefact.
        trust: Whom the reader trusts.
        now: The clock.
        graph: The lineage of `folder`, where it is known already.

    Returns:
        In the order of the file; empty where nothing was signed.

    Raises:
        SignatureError: a byte was changed, a line is there twice or missing, a statement is of an
            unknown type, about another artefact, older than it, or breaks its schema, says other
            things than the lineage, or nobody who is trusted signed it.
        IntegrityError: the artefact, or an ancestor that was signed for, is missing or damaged.
    """
    found = _found(folder, trust, now=now, graph=graph)
    if trust is not None and found:
        _check_counted(found)
    return found


def check_signed(graph: Lineage, trust: Trust, *, now: datetime) -> dict[Path, list[Attestation]]:
    """Check the signatures of a whole lineage, and that those are there that must be.

    The artefact itself must be signed by a trusted key; of its ancestors those that the trust
    file's `require` asks for, by the signers that it names.

    Returns:
        By the folder of each artefact, parents first.

    Raises:
        SignatureError: see `check_attestations`, or a signature that must be there is not.
    """
    found = {
        node.path: list(_found(node.path, trust, now=now, graph=_known(graph, node)))
        for node in graph.nodes
    }
    root = graph.nodes[-1]
    if not found[root.path]:
        raise SignatureError(
            f"{root.path} is not signed: it has no {ATTESTATIONS_NAME}. Sign it, or verify without "
            "--trust."
        )
    _check_counted(found[root.path])
    for node in graph.nodes:
        _check_required(node, found[node.path], trust)
    return found


def statements_of(graph: Lineage) -> tuple[Statement, Statement]:
    """What is signed of an artefact: its distillation, and its SLSA provenance.

    Raises:
        SignatureError: its manifests say something that the schema has not.
    """
    subject = subject_of(graph.nodes[-1])
    distillation, slsa = (
        Statement(subjects=(subject,), predicate_type=kind, predicate=predicate)
        for kind, predicate in _expected(graph).items()
    )
    return distillation, slsa


def subject_of(artifact: Artifact) -> Subject:
    """An artefact as the subject of a statement: the hash of its manifest, which has all others."""
    return Subject(name=artifact.path.resolve().name or "artefact", sha256=artifact.manifest_sha256)


def _known(graph: Lineage, node: Artifact) -> Lineage | None:
    return graph if node is graph.nodes[-1] else None


def _found(
    folder: Path, trust: Trust | None, *, now: datetime, graph: Lineage | None
) -> tuple[Attestation, ...]:
    """Everything that was signed about an artefact, each with why it does not count, if so."""
    envelopes = read_attestations(folder)
    if not envelopes:
        return ()
    graph = graph if graph is not None else lineage(folder)
    root = graph.nodes[-1]
    expected = _expected(graph)
    path = folder / ATTESTATIONS_NAME
    found = []
    for number, envelope in enumerate(envelopes, start=1):
        where = f"{path}, line {number}"
        statement = open_envelope(envelope, where=where)
        _check_content(statement, root, expected, where=where)
        found.append(_attestation(statement, trust, now=now, where=where))
    _check_pairs(found, path)
    return tuple(found)


def _expected(graph: Lineage) -> dict[str, dict[str, Any]]:
    """By type, the predicates that a lineage gives."""
    distillation = distillation_predicate(graph)
    return {DISTILLATION_TYPE: distillation, SLSA_TYPE: slsa_predicate(graph, distillation)}


def _check_content(
    statement: Statement, root: Artifact, expected: dict[str, dict[str, Any]], *, where: str
) -> None:
    kind = statement.predicate_type
    if kind not in expected:
        raise SignatureError(
            f"{where} is a statement of the type {kind!r:.100}, which this stillhouse does not "
            f"know ({', '.join(expected)}). Take the line out, or use the version that wrote it."
        )
    check_subject(statement, subject_of(root), where=where)
    if kind == DISTILLATION_TYPE:
        check_schema(statement.predicate, where=where)
    if (name := _difference(statement.predicate, expected[kind])) is not None:
        raise SignatureError(
            f"{where} says something else than the manifests of the lineage: {name} differs. It "
            "was not made by stillhouse from this lineage; do not rely on it."
        )
    signed_utc = signer_of(statement).signed_utc
    if signed_utc < root.manifest.created_utc.replace(microsecond=0):
        raise SignatureError(
            f"{where} was signed on {signed_utc:%Y-%m-%d %H:%M:%S} UTC, before the artefact was "
            f"made ({root.manifest.created_utc:%Y-%m-%d %H:%M:%S}): the signer's clock was wrong. "
            "Take that signer's lines out, and have it signed again."
        )


def _difference(given: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """The first field that differs, as it is written."""
    for name in sorted(given.keys() | expected.keys()):
        if name not in given or name not in expected:
            return name
        if canonical_json(given[name]) != canonical_json(expected[name]):
            return name
    return None


def _attestation(
    statement: Statement, trust: Trust | None, *, now: datetime, where: str
) -> Attestation:
    signer = signer_of(statement)
    problem = None
    if trust is not None:
        try:
            check_signer(statement, trust, now=now, where=where)
        except SignatureError as err:
            problem = str(err)
            logger.info("%s", problem)
    return Attestation(
        predicate_type=statement.predicate_type,
        signer=signer.key.name,
        key_id=signer.key.key_id,
        signed_utc=signer.signed_utc,
        problem=problem,
    )


def _check_pairs(found: Iterable[Attestation], path: Path) -> None:
    """Refuse a file from which a line was taken: each signer signs both statements, once."""
    kinds: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for one in found:
        kinds.setdefault(one.key_id, []).append(one.predicate_type)
        names[one.key_id] = one.signer
    for key_id, signed in kinds.items():
        if sorted(signed) != sorted(ATTESTED_TYPES):
            raise SignatureError(
                f"{path} has {len(signed)} statements of the key {names[key_id]}, not one of each "
                f"type ({', '.join(ATTESTED_TYPES)}): a line was taken out or put in. Restore it."
            )


def _check_counted(found: Iterable[Attestation]) -> None:
    """Refuse an artefact of which no signer counts; the reason is that of the first."""
    problems = _problems(found)
    if all(problems.values()):
        raise SignatureError(next(iter(problems.values())) or "")


def _problems(found: Iterable[Attestation]) -> dict[str, str | None]:
    """By key: why one of its statements does not count; None where both do."""
    problems: dict[str, str | None] = {}
    for one in found:
        problems[one.key_id] = problems.get(one.key_id) or one.problem
    return problems


def _check_required(node: Artifact, found: Iterable[Attestation], trust: Trust) -> None:
    problems = _problems(found)
    for rule in trust.require:
        if "*" not in rule.kinds and node.manifest.kind not in rule.kinds:
            continue
        # By the names of the trust file: those in a signature are only claims.
        asked = {
            key_id
            for key_id, trusted in trust.keys.items()
            if {trusted.key.name, key_id} & set(rule.signed_by)
        }
        reasons = [problems[key_id] for key_id in problems if key_id in asked]
        if reasons and all(reasons):
            raise SignatureError(reasons[0] or "")
        if not reasons:
            raise SignatureError(
                f"{node.path} must be signed by {' or '.join(rule.signed_by)} (require in the "
                "trust file), and is not. Have it signed, or change the rule."
            )
