"""The tables of `docs/benchmarks.md` on students: what marks leave in them, and who taught them."""

from typing import Any

from benchmarks._parts.goals import Goal, markdown_table

_ARMS = ("radioactivity", "gumbel", "layers_30")
_DECOYS = ("radioactivity", "gumbel", "decoys_30")
_SIZE = {"size_path": ("radioactivity", "sizes", "decoys"), "least_size": 200}
_SUSPECTS = {"size_path": ("attribution", "sizes", "students"), "least_size": 2}

GOALS = (
    *(
        Goal(f"{words}, log10 p", (*_ARMS, arm, kind, "contrast", "log10_p"), limit, **_SIZE)
        for words, arm, kind, limit in (
            ("5 % marked, learnt texts", "share-0.05", "learnt/exact", -8),
            ("5 % marked, learnt texts, another reference", "share-0.05", "learnt/other", -8),
            ("20 % marked, learnt texts", "share-0.2", "learnt/exact", -30),
            ("20 % marked, learnt texts, another reference", "share-0.2", "learnt/other", -30),
            ("5 % marked, unseen texts (a stretch)", "share-0.05", "unseen/exact", -5),
        )
    ),
    Goal(
        "text that the contrast needs for the p of argmax, 20 % marked",
        (*_ARMS, "share-0.2", "learnt/exact", "contrast", "contexts_share_for_p_of_argmax"),
        50,
        "%",
        scale=100,
        **_SIZE,
    ),
    Goal("decoys: mean of z, worst of all tests", (*_DECOYS, "worst_z_mean"), 0.2, **_SIZE),
    Goal("decoys: sd of z from 1, the same", (*_DECOYS, "worst_z_sd_from_1"), 0.15, **_SIZE),
    Goal(
        "students given to their teacher",
        ("attribution", "right_share"),
        85,
        "%",
        is_least=True,
        scale=100,
        **_SUSPECTS,
    ),
    Goal(
        "controls of the same base given to anybody",
        ("attribution", "accused_controls_share"),
        1,
        "%",
        scale=100,
        **_SUSPECTS,
    ),
)


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    marks = document.get("radioactivity")
    return {
        "radioactivity": _radioactivity(marks, document.get("radioactivity_pruned")),
        "closed": _closed(marks),
        "rewritten": _rewritten(marks),
        "attribution": _attribution(document.get("attribution")),
    }


def _students(entry: dict[str, Any] | None) -> list[tuple[str, str, dict[str, Any]]]:
    """Name of the student, arm, what was found; of every scheme and size."""
    found = []
    for scheme, of_scheme in (entry or {}).items():
        if scheme in ("circumstances", "sizes"):
            continue
        for size, arms in of_scheme.items():
            if not size.startswith("layers_"):
                continue
            name = f"{scheme}, {size.removeprefix('layers_')} layers"
            found += [(name, arm, result) for arm, result in arms.items()]
    return found


def _radioactivity(*entries: dict[str, Any] | None) -> str:
    statistics = ("argmax", "soft", "contrast", "root contrast")
    header = ("student", "arm", "texts / reference", "contexts", *statistics, "decoys' z")
    rows = []
    for name, arm, result in (one for entry in entries for one in _students(entry)):
        for kind, found in result.items():
            if "/" not in kind:
                continue
            decoys = found["contrast"]
            rows.append(
                (
                    name,
                    arm,
                    kind.replace("/", " / "),
                    f"{found['contexts']:,}",
                    *(f"{found[statistic]['log10_p']:.1f}" for statistic in statistics),
                    f"{decoys['decoy_z_mean']:.2f} ± {decoys['decoy_z_sd']:.2f}",
                )
            )
    return markdown_table(header, rows)


def _closed(entry: dict[str, Any] | None) -> str:
    header = ("student", "arm", "counted", "tokens", "contexts", "written", "less expected")
    rows = []
    for name, arm, result in _students(entry):
        closed = result.get("closed", {})
        for kind, found in closed.items():
            if kind == "tokens":
                continue
            rows.append(
                (
                    name,
                    arm,
                    kind,
                    f"{closed['tokens']:,}",
                    f"{found['contexts']:,}",
                    f"{found['written']:.1f}",
                    f"{found['written less expected']:.1f}",
                )
            )
    return markdown_table(header, rows)


def _rewritten(entry: dict[str, Any] | None) -> str:
    header = ("scheme", "answers", "texts", "found at 1e-3")
    rows = []
    for scheme, of_scheme in (entry or {}).items():
        if scheme in ("circumstances", "sizes"):
            continue
        for kind, found in of_scheme["texts_found"].items():
            low, high = found["interval"]
            told = f"{found['found']:.1%} [{low:.1%}, {high:.1%}]"
            rows.append((scheme, kind, str(found["texts"]), told))
    return markdown_table(header, rows)


def _attribution(entry: dict[str, Any] | None) -> str:
    header = ("suspects", "number", "right", "wrong", "nobody named")
    if entry is None:
        return markdown_table(header, ())
    students, controls = entry["students"], entry["controls"]
    nobody = sum(one["named"] is None for one in students)
    right = sum(one["named"] == one["teacher"] for one in students)
    accused = sum(one["named"] is not None for one in controls)
    rows = (
        ("students", len(students), right, len(students) - right - nobody, nobody),
        ("controls of the same base", len(controls), "", accused, len(controls) - accused),
    )
    return markdown_table(header, [tuple(str(cell) for cell in row) for row in rows])
