"""What evaluations measured of a student, as facts.

Three kinds of `results.json` hold values with intervals: of language models (`models`), of a task
(`systems`), and of standard benchmarks (`tasks`). Of others only the verdict is told.
"""

from collections.abc import Iterator

from stillhouse.documents._facts import Fact, derived, first_known, written
from stillhouse.documents._graph import MODEL_KINDS, Graph, Node
from stillhouse.documents._sheet import EvaluationFacts, MetricFacts
from stillhouse.documents._views import View

_LISTS = ("models", "systems")
_WORDS = {
    "forward_kl_nats": "KL(teacher || student), nats per token",
    "top1_agreement": "tokens at which both rank the same token first",
    "teacher_text_perplexity": "perplexity on the teacher's text",
    "looping_fraction": "share of texts that loop",
    "agreement": "agreement with the teacher",
    "gold": "agreement with the right answers",
    "kappa": "agreement with the teacher beyond chance",
    "valid": "share of answers that the task allows",
}


def evaluation_facts(graph: Graph, model: Node | None) -> Iterator[EvaluationFacts]:
    """One entry for each evaluation of `model` in the graph."""
    for node in graph.nodes:
        if model is None or node.kind != "evaluation" or model.name not in node.parents:
            continue
        results = node.results
        datasets = [name for name in node.parents if graph.node(name).kind == "dataset"]
        told = node.manifest.fact("/config/title")
        yield EvaluationFacts(
            artifact=node.name,
            title=first_known(results.fact("/title"), told) if results else told,
            verdict=node.manifest.fact("/results/verdict"),
            created_utc=node.manifest.fact("/created_utc"),
            dataset=datasets[0] if datasets else None,
            metrics=tuple(_metrics(results, _place(graph, node, model))) if results else (),
        )


def _place(graph: Graph, evaluation: Node, model: Node) -> str | None:
    """Where the results speak of `model`: by its folder's name, else by its turn among students."""
    results = evaluation.results
    if results is None:
        return None
    students = [
        (str(results.get(f"{place}/name")), place)
        for part in _LISTS
        for _, place in results.children(f"/{part}")
        if results.get(f"{place}/role") == "student"
    ]
    folder = model.name.split("/")[-1]
    same = [place for name, place in students if name == folder]
    turn = [name for name in evaluation.parents if graph.node(name).kind in MODEL_KINDS]
    if not same and len(turn) == len(students):
        same = [students[turn.index(model.name)][1]]
    return same[0] if len(same) == 1 else None


def _metrics(results: View, place: str | None) -> Iterator[MetricFacts]:
    if place is None:
        return
    for name, inner in results.children(place):
        if _is_estimate(results, inner):
            value = results.fact(f"{inner}/value")
            label = derived(_WORDS.get(name, name), "the metric in words", value)
            yield _metric(results, inner, derived(name, "name of the metric", value), label)
    for _, task in results.children("/tasks"):
        inner = f"{task}/student"
        if _is_estimate(results, inner):
            asked, by = results.fact(f"{task}/task"), results.fact(f"{task}/metric")
            label = written("{task}, {metric}", task=asked, metric=by)
            yield _metric(results, inner, by, label)


def _metric(results: View, place: str, name: Fact, label: Fact) -> MetricFacts:
    return MetricFacts(
        name=name,
        label=label,
        value=results.fact(f"{place}/value"),
        low=results.fact(f"{place}/low"),
        high=results.fact(f"{place}/high"),
        n=results.fact(f"{place}/n"),
    )


def _is_estimate(results: View, place: str) -> bool:
    value = results.get(place)
    return isinstance(value, dict) and {"value", "low", "high", "n"} <= value.keys()
