"""A plan for forgetting, for people."""

from collections import Counter

from stillhouse.provenance._forget_plan import ForgetPlan


def plan_text(plan: ForgetPlan) -> str:
    """The plan for people."""
    counts = Counter(step.action for step in plan.steps)
    verbs = {
        "filter": "take the rows out",
        "rerun": "run again",
        "remove": "remove",
        "by_hand": "BY HAND",
    }
    told = ", ".join(f"{verbs[action]} {number}" for action, number in counts.items())
    cost = "unknown" if plan.cost_usd is None else f"${plan.cost_usd:,.4f}"
    lines = [
        f"Forget {plan.what} {plan.value}{f' ({plan.why})' if plan.why else ''}",
        f"{len(plan.steps)} artefacts are made of it: {told}. {plan.untouched} are not touched.",
        f"As they were made before: {plan.seconds:,.1f} s, cost {cost}. No teacher is asked again "
        "for what a ledger or a collection has.",
        "",
    ]
    for number, step in enumerate(plan.steps, start=1):
        rows = ", ".join(f"{count} of {table}" for table, count in step.rows.items())
        lines.append(f"{number:3}. {verbs[step.action]}: {step.path} ({step.kind} by {step.stage})")
        lines.append(f"     {step.why}{f'; rows: {rows}' if rows else ''}")
    for head, notes in (("It cannot be said of:", plan.unknown), ("Outside:", plan.outside)):
        if notes:
            lines += ["", head, *(f"  {note}" for note in notes)]
    return "\n".join(lines)
