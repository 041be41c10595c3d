"""The audit pack: checked in an empty folder by plain Python, and every changed byte found."""

import ast
import json
import os
import random
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from artifact_chains import listing
from command_here import run_alone
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from documents_cases import Case, make_case, terms_record
from report_checks import CHROMIUM, Page, browser_complaints

from stillhouse.cli._audit_pack import audit_pack as command
from stillhouse.errors import ConfigError, SignatureError
from stillhouse.pipeline import AuditPack, audit_pack, check_pack
from stillhouse.pipeline._audit_content import listed
from stillhouse.provenance import attest
from stillhouse.signing import create_key, load_private_key

VERIFIER = Path(check_pack.__file__)
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A student under terms with duties, signed."""
    made = make_case(tmp_path_factory.mktemp("case"), terms=terms_record(), with_evaluation=False)
    now = datetime.now(UTC) + timedelta(seconds=1)
    create_key(
        made.root / "key.pem", name="release", valid_from=now - timedelta(days=1),
        valid_until=now + timedelta(days=9), now=now,
    )  # fmt: skip
    attest(made.student, load_private_key(made.root / "key.pem"), now=now)
    (made.root / "trust.yaml").write_text("schema_version: 1\nkeys:\n  - key: key.pem.pub\n")
    return made


@pytest.fixture(scope="module")
def pack(case: Case, tmp_path_factory: pytest.TempPathFactory) -> AuditPack:
    out = tmp_path_factory.mktemp("out") / "audit.zip"
    return audit_pack(case.student, out, num_rows=3, trust=case.root / "trust.yaml")


@pytest.fixture(scope="module")
def files(pack: AuditPack) -> Files:
    return check_pack.read(pack.path)


def run_alone_in(folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    """The packed verifier in a process that has no package but those of Python."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "check_pack.py", what],
        cwd=folder, env={}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def unpacked(pack: AuditPack, folder: Path) -> Path:
    with zipfile.ZipFile(pack.path) as archive:
        archive.extractall(folder)
    return folder


def relisted(files: Files) -> Files:
    """The same with a list that fits, as a forger would make it."""
    pack = json.loads(files[check_pack.LIST])
    entries = {one["name"]: one for one in pack["files"]}
    kept = {n: raw for n, raw in files.items() if n not in (check_pack.LIST, check_pack.SUM)}
    pack["files"] = [
        {**entries[name], "bytes": len(raw), "sha256": check_pack.hashlib.sha256(raw).hexdigest()}
        for name, raw in sorted(kept.items())
    ]
    pack["lineage"] = [one for one in pack["lineage"] if f"{one['folder']}/manifest.json" in kept]
    raw = listed(pack)
    digest = check_pack.hashlib.sha256(raw).hexdigest()
    return {**kept, check_pack.LIST: raw, check_pack.SUM: f"{digest}  PACK.json\n".encode()}


def test_the_pack_is_checked_by_plain_python_in_an_empty_folder(
    pack: AuditPack, tmp_path: Path
) -> None:
    folder = unpacked(pack, tmp_path / "empty")
    without = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import stillhouse"], env={}, capture_output=True
    )
    assert without.returncode != 0  # it would be no proof otherwise
    for what in (".", str(pack.path)):
        ran = run_alone_in(folder, what)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith("true: the pack is whole\n")
        assert "3 artefacts, and each parent that one names is among them" in ran.stdout
        assert "3 rows are in the artefacts that they are said to be in" in ran.stdout
        assert "is signed by 'release', key " in ran.stdout
        assert f"the SHA-256 of PACK.json is {pack.pack_sha256};" in ran.stdout
    folder.joinpath("INDEX.html").write_bytes(b"x")
    ran = run_alone_in(folder, ".")
    assert ran.returncode == 1
    assert ran.stdout == "false: INDEX.html has changed\n"


def test_all_that_was_promised_is_in_it(pack: AuditPack, files: Files, case: Case) -> None:
    names = set(files)
    key_id = json.loads((case.root / "key.pem.pub").read_bytes())["key_id"]
    assert names >= {
        "INDEX.html", "README.txt", "PACK.json", "PACK.sha256", "check_pack.py", "check_proof.py",
        "terms/record.json", "terms/registry.json", "economics/economics.html",
        "economics/economics.json", "documents/trace.json", "lineage.svg", "trust/trust.yaml",
        f"trust/{key_id}.pub", f"keys/{key_id}.pub",
    }  # fmt: skip
    manifests = [name for name in names if re.fullmatch(r"lineage/\d{3}-\w+/manifest.json", name)]
    assert len(manifests) == 3
    assert len([name for name in names if name.endswith("attestations.jsonl")]) == 1
    assert len([name for name in names if name.endswith("-history.json")]) == 3
    assert files["check_pack.py"] == VERIFIER.read_bytes()
    record = json.loads(files["terms/record.json"])
    assert record["verdict"] == "allow_with_duties"
    registry = json.loads(files["terms/registry.json"])
    used = {one["source"] for one in record["findings"]}
    assert used == {*registry["sources"], *registry["not_in_this_registry"]}
    assert str(case.root) not in "".join(raw.decode("utf-8", "replace") for raw in files.values())
    assert pack.num_files == len(files)


def test_any_changed_byte_of_any_file_is_found(files: Files) -> None:
    draws = random.Random(0)
    for name, raw in files.items():
        places = {0, len(raw) - 1, *(draws.randrange(len(raw)) for _ in range(3))}
        for place in places:
            changed = bytearray(raw)
            changed[place] ^= 1 << draws.randrange(8)
            with pytest.raises(ValueError, match=r"has changed|SHA-256"):
                check_pack.check({**files, name: bytes(changed)})


def test_any_changed_byte_of_the_zip_file_is_found(pack: AuditPack, tmp_path: Path) -> None:
    raw = pack.path.read_bytes()
    draws = random.Random(1)
    directory = raw.index(b"PK\x01\x02")  # headers carry no content, and are checked all the same
    places = [draws.randrange(len(raw)) for _ in range(60)]
    places += [draws.randrange(directory, len(raw)) for _ in range(60)]
    path = tmp_path / "changed.zip"
    for place in [*range(30), *places]:
        changed = bytearray(raw)
        changed[place] ^= 1 << draws.randrange(8)
        path.write_bytes(changed)
        assert check_pack.main(str(path)) == 1
    path.write_bytes(raw[:-1])
    assert check_pack.main(str(path)) == 1
    path.write_bytes(raw + b"\0")
    assert check_pack.main(str(path)) == 1
    path.write_bytes(raw)
    assert check_pack.main(str(path)) == 0


def test_files_that_were_added_or_taken_out_are_found(
    pack: AuditPack, files: Files, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"more\.txt is not listed"):
        check_pack.check({**files, "more.txt": b""})
    with pytest.raises(ValueError, match=r"README\.txt is missing"):
        check_pack.check({name: raw for name, raw in files.items() if name != "README.txt"})
    with pytest.raises(ValueError, match="SHA-256"):
        check_pack.check({})
    folder = unpacked(pack, tmp_path / "folder")
    (folder / "link").symlink_to("README.txt")
    with pytest.raises(ValueError, match="symbolic link"):
        check_pack.read(folder)
    deflated = tmp_path / "deflated.zip"
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    with pytest.raises(ValueError, match="compressed"):
        check_pack.read(deflated)


def test_a_forger_who_writes_the_list_anew_is_found_by_what_the_list_does_not_hold(
    files: Files,
) -> None:
    assert check_pack.check(relisted(files))
    proof = next(n for n in files if re.fullmatch(r"proofs/row-\d+\.json", n))
    forged = files[proof].replace(b"Town Opens Bridge", b"Town Closes Brdge")
    assert forged != files[proof]
    with pytest.raises(ValueError, match="another root"):
        check_pack.check(relisted({**files, proof: forged}))
    parent = next(n for n in files if n.endswith("-completions/manifest.json"))
    without = {name: raw for name, raw in files.items() if name != parent}
    with pytest.raises(ValueError, match=r"a parent, \S+completions, is not in the pack"):
        check_pack.check(relisted(without))
    manifest = next(n for n in files if n.endswith("-dataset/manifest.json"))
    with pytest.raises(ValueError, match=r"another manifest than PACK\.json says"):
        check_pack.check(relisted({**files, manifest: files[manifest] + b" "}))
    signed = next(n for n in files if n.endswith("attestations.jsonl"))
    lines = files[signed].splitlines()
    first = json.loads(lines[0])
    first["signatures"] = json.loads(lines[1])["signatures"]
    swapped = b"\n".join([json.dumps(first).encode(), *lines[1:], b""])
    with pytest.raises(ValueError, match="does not fit what was signed"):
        check_pack.check(relisted({**files, signed: swapped}))
    elsewhere = signed.replace(signed.split("/")[1], manifest.split("/")[1])
    pack = json.loads(files["PACK.json"])
    pack["files"].append({"name": elsewhere, "bytes": 0, "sha256": ""})
    moved = {**files, elsewhere: files[signed], "PACK.json": listed(pack)}
    with pytest.raises(ValueError, match="is about another artefact"):
        check_pack.check(relisted(moved))


def test_the_same_records_give_the_same_bytes(pack: AuditPack, case: Case, tmp_path: Path) -> None:
    again = audit_pack(
        case.student, tmp_path / "again.zip", num_rows=3, trust=case.root / "trust.yaml"
    )
    assert again.path.read_bytes() == pack.path.read_bytes()
    assert (again.pack_sha256, again.zip_sha256) == (pack.pack_sha256, pack.zip_sha256)


def test_hidden_rows_are_in_no_proof(case: Case, tmp_path: Path) -> None:
    made = audit_pack(case.student, tmp_path / "hidden.zip", num_rows=4, hide_rows=True)
    files = check_pack.read(made.path)
    proofs = [name for name in files if name.startswith("proofs/")]
    assert len(proofs) == 4
    assert all(b"Town Opens Bridge" not in files[name] for name in proofs)
    assert not any(name.startswith("trust/") for name in files)


def test_without_rows_to_prove_it_is_a_pack_all_the_same(case: Case, tmp_path: Path) -> None:
    made = audit_pack(case.student, tmp_path / "none.zip", num_rows=0)
    assert "0 rows are in the artefacts that they are said to be in" in made.checked


def test_what_cannot_be_packed_is_refused_and_nothing_is_written(
    case: Case, tmp_path: Path
) -> None:
    before, out = listing(case.root), tmp_path / "refused.zip"
    with pytest.raises(ConfigError, match="-1 rows"):
        audit_pack(case.student, out, num_rows=-1)
    with pytest.raises(SignatureError, match="is not signed"):
        audit_pack(case.dataset, out, trust=case.root / "trust.yaml")
    with pytest.raises(ConfigError, match="would lie in the artefact"):
        audit_pack(case.student, case.dataset / "in" / "audit.zip")
    assert not out.exists()
    out.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="is not overwritten"):
        audit_pack(case.student, out)
    assert out.read_bytes() == b"mine"
    in_a_file = out / "below.zip"
    with pytest.raises(ConfigError, match="cannot be written"):
        audit_pack(case.student, in_a_file)
    assert listing(case.root) == before


def test_the_index_links_to_what_is_there_and_fits_its_column(files: Files, tmp_path: Path) -> None:
    source = files["INDEX.html"].decode()
    links = [attrs["href"] for tag, attrs in Page(source).tags if tag == "a"]
    assert links
    assert set(links) == set(files) - {"INDEX.html", "README.txt", "PACK.json", "PACK.sha256"}
    assert "allowed with duties; 2 statements about it are signed" in source
    if CHROMIUM is not None:
        complaints, _ = browser_complaints({"index": source}, (360, 390, 1280), folder=tmp_path)
        assert complaints == []


def test_the_readme_says_how_to_check_it(files: Files) -> None:
    text = files["README.txt"].decode()
    assert "    python -I check_pack.py .\n" in text
    assert max(map(len, text.splitlines())) <= 96
    assert "A record, not legal advice." in text


def test_the_verifier_is_python_of_3_9() -> None:
    tree = ast.parse(VERIFIER.read_text("utf-8"), feature_version=(3, 9))
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    assert imported <= set(sys.stdlib_module_names)
    unions = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp | ast.Match)]
    assert not any(isinstance(one, ast.Match) for one in unions)


def test_signatures_of_the_verifier_are_those_of_rfc_8032() -> None:
    # section 7.1, tests 1 to 3
    vectors = [
        ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
         "1cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
         "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
         "984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ]  # fmt: skip
    for key, data, signature in vectors:
        given = [bytes.fromhex(one) for one in (key, data, signature)]
        assert check_pack.is_signature(*given)
        assert not check_pack.is_signature(given[0], given[1] + b"x", given[2])


def test_signatures_of_the_verifier_are_those_of_the_library() -> None:
    draws = random.Random(7)
    for size in range(12):
        key = Ed25519PrivateKey.from_private_bytes(draws.randbytes(32))
        public, data = key.public_key().public_bytes_raw(), draws.randbytes(size * 7)
        signature = key.sign(data)
        assert check_pack.is_signature(public, data, signature)
        for raw in (public, signature):
            changed = bytearray(raw)
            changed[draws.randrange(len(raw))] ^= 1 << draws.randrange(8)
            pair = (bytes(changed), signature) if raw is public else (public, bytes(changed))
            assert not check_pack.is_signature(pair[0], data, pair[1])
        # The same number modulo the order would be a second signature of the same.
        more = int.from_bytes(signature[32:], "little") + check_pack.L
        assert not check_pack.is_signature(
            public, data, signature[:32] + more.to_bytes(32, "little")
        )
        assert not check_pack.is_signature(public[:-1], data, signature)


def test_the_command_prints_the_number_that_all_hangs_on(
    capsys: pytest.CaptureFixture[str], case: Case, tmp_path: Path
) -> None:
    out = tmp_path / "cli.zip"
    ran = run_alone(capsys, command, case.student, "--out", out, "--rows", "2", "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["path"] == str(out)
    assert document["num_bytes"] == os.path.getsize(out)
    assert "2 rows are in" in " ".join(document["checked"])
    again = run_alone(capsys, command, case.student, "--out", out)
    assert again.code == 2
    assert "is not overwritten" in again.err
    text = run_alone(capsys, command, case.student, "--out", tmp_path / "text.zip", "--rows", "2")
    assert f"SHA-256 of its PACK.json: {document['pack_sha256']}" in text.out
