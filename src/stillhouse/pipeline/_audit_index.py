"""What a pack says about itself: the page to begin with, and how to check it."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace

from stillhouse.economics import Economics, economics_tiles
from stillhouse.pages import Provenance, page_environment, size, utc_text
from stillhouse.pipeline._audit_content import Packed
from stillhouse.pipeline.check_pack import LIST, PROOF_VERIFIER, SUM, VERIFIER

_WIDTH = 88
_PARTS = (
    ("documents/", "Documents", "cards, bills of materials, summaries; trace.json has each field's "
     "source"),
    ("terms/", "Terms", "the recorded verdict, and the clauses that it rests on"),
    ("economics/", "Economics", "who pays and who earns"),
    ("proofs/", "Proofs", "that rows drawn by hash are in the dataset, and the calls behind them"),
    ("lineage", "Lineage", "every manifest, with the signatures beside it, and a picture"),
    ("keys/", "Keys", "of those who signed; compare their ids with those that you know"),
    ("trust/", "Trust", "whom the maker of this pack trusts; decide for yourself"),
    ("check_", "Verifiers", "plain Python, without any other package"),
)  # fmt: skip
_CHECKS = (
    f"python -I {VERIFIER} .",
    f"python -I {VERIFIER} PACK.zip",
    f"python -I {PROOF_VERIFIER} proofs/ROW.json FOLDER/manifest.json",
)


def readme(root: Packed, files: Mapping[str, bytes], *, num_proofs: int) -> str:
    """The text of `README.txt`."""
    manifest = root.artifact.manifest
    paragraphs = [
        f"An audit pack of {root.artifact.path.name}, a {manifest.kind} that the stage "
        f"{manifest.stage} of stillhouse made on {utc_text(manifest.created_utc)}. Its manifest "
        f"is {root.folder}/manifest.json, with the SHA-256 {root.artifact.manifest_sha256}.",
        f"To check it you need Python 3.9 or later, no network and nothing else. {VERIFIER} finds "
        f"any byte that is not what was packed, parents that are missing, and proofs "
        f"({num_proofs}) and signatures that do not hold:",
        "\n".join(f"    {line}" for line in _CHECKS),
        f"All of it hangs on the SHA-256 of {LIST}. It stands in {SUM}; ask whoever gave you the "
        "pack for it by another way, and compare. A verifier that came with what it verifies can "
        "be changed together with it: read it first (it is short), or take it from stillhouse, of "
        "which it is part. Whose keys signed is for you to know: compare ids.",
        "Weights and rows are not in the pack, but for the rows that are proved. Who has the "
        "folders checks all of them with: stillhouse verify DIR",
        "What is in it:",
        "\n".join(f"    {prefix + '*':12} {what}" for prefix, _, what in _parts(files)),
        "A record, not legal advice.",
    ]
    return "\n\n".join(map(_filled, paragraphs)) + "\n"


def index_page(
    root: Packed, files: Mapping[str, bytes], provenance: Provenance, found: Economics
) -> str:
    """The text of `INDEX.html`."""
    page = page_environment("stillhouse.pipeline").get_template("_audit_pack.html.jinja")
    manifest = root.artifact.manifest
    return page.render(
        results=SimpleNamespace(title=f"Audit pack of {root.artifact.path.name}"),
        verdict=_verdict(provenance),
        created=utc_text(manifest.created_utc),
        checks=_CHECKS[:1],
        list_name=LIST,
        sum_name=SUM,
        groups=list(_groups(files)),
        provenance=replace(provenance, tiles=tuple(economics_tiles(found))),
        manifest_sha256=root.artifact.manifest_sha256,
        folder=root.folder,
    )


def _verdict(provenance: Provenance) -> str:
    number = len(provenance.signatures)
    signed = f"{number} statements about it are signed" if number else "nothing is signed"
    if not provenance.verdict:
        return f"No verdict by terms was recorded; {signed}."
    return f"By the recorded terms it is {provenance.verdict}; {signed}."


def _groups(files: Mapping[str, bytes]) -> Iterator[SimpleNamespace]:
    for prefix, title, what in _parts(files):
        names = sorted(name for name in files if name.startswith(prefix))
        yield SimpleNamespace(
            title=title,
            what=what,
            files=[SimpleNamespace(name=name, size=size(len(files[name]))) for name in names],
        )


def _parts(files: Mapping[str, bytes]) -> list[tuple[str, str, str]]:
    return [part for part in _PARTS if any(name.startswith(part[0]) for name in files)]


def _filled(text: str) -> str:
    return text if text.startswith("    ") else textwrap.fill(text, _WIDTH)
