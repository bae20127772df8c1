"""Hits and explanations for a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from neuroconcepts_ray.retrieval.answer import Hit, Shared
from neuroconcepts_ray.retrieval.explain import Explanation

SHARED = 3
"""Shared concepts that are named beside a hit."""


def _shared(shared: Sequence[Shared], score: float) -> str:
    """The largest shares, same names summed, as per cent of the score."""
    together: dict[str, float] = {}
    for one in shared:
        name = one.name or f"unnamed (neuron {one.neuron})"
        together[name] = together.get(name, 0.0) + one.share
    best = sorted(together.items(), key=lambda pair: (-abs(pair[1]), pair[0]))[:SHARED]
    return "; ".join(f"{name} {share / score:.0%}" for name, share in best) if score else ""


def render_hits(hits: Sequence[Hit], title: str, score: str = "cosine") -> Table:
    """Hits as a table: rank, image, view, score, and why.

    Args:
        hits: Best first.
        title: What was asked.
        score: What the score is called.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("image", no_wrap=True)  # it is copied into the next question
    table.add_column("view", overflow="fold")
    table.add_column(score, justify="right", overflow="fold")
    table.add_column("shared concepts (share of the score)", overflow="fold")  # names are never cut
    for rank, hit in enumerate(hits, start=1):
        why = Text(_shared(hit.shared, hit.score))
        table.add_row(str(rank), Text(hit.image_id), Text(hit.view), f"{hit.score:.4f}", why)
    return table


def _prediction(explanation: Explanation) -> Table:
    table = Table(title="Prediction", title_justify="left")
    table.add_column("label")
    table.add_column("probability", justify="right")
    table.add_column("logit", justify="right")
    table.add_column("label in the archive")
    words = {True: "present", False: "absent", None: "masked"}
    rows = zip(explanation.labels, explanation.probabilities, explanation.logits, explanation.truth, strict=True)
    for label, probability, logit, truth in sorted(rows, key=lambda row: -row[2]):
        style = "bold" if label == explanation.label else ""
        table.add_row(Text(label), f"{probability:.3f}", f"{logit:+.3f}", words[truth], style=style)
    return table


def _sum(explanation: Explanation) -> Table:
    table = Table(title=f"Why {explanation.label}: the network's own logit, taken apart", title_justify="left")
    table.add_column("part")
    table.add_column("contribution", justify="right")
    table.add_column("held-out AUROC of the name (95 % interval)")
    for one in explanation.concepts:
        evidence = "; ".join(f"{auroc:.2f} ({low:.2f}–{high:.2f})" for auroc, low, high in one.aurocs)
        side = "for" if one.contribution > 0 else "against"
        table.add_row(Text(one.name), f"{one.contribution:+.4f} {side}", evidence)
    table.add_row(f"{explanation.other_neurons} other neurons", f"{explanation.others:+.4f}", "")
    table.add_row("decoder bias W·b_dec", f"{explanation.bias_dec:+.4f}", "")
    table.add_row("residual W·(f − f̂), not explained by neurons", f"{explanation.residual:+.4f}", "")
    table.add_row("head bias b", f"{explanation.b:+.4f}", "", end_section=True)
    table.add_row("sum", f"{explanation.total:+.4f}", "")
    table.add_row("logit of the network", f"{explanation.logit:+.4f}", f"error {explanation.error:.1e}")
    return table


def render(explanation: Explanation) -> Group:
    """An explanation as tables and panels of rich; shows the report's text."""
    view, role, group = explanation.view or "unknown", explanation.role, explanation.group
    head = f"{explanation.image_id}  view {view}, role {role}, group {group}"
    parts: list[RenderableType] = [Text(head, style="bold"), _prediction(explanation), _sum(explanation)]
    report = explanation.report.strip() if explanation.report else "The archive has no report of this study."
    parts.append(Panel(Text(report), title="Report", title_align="left"))
    title = f"The {len(explanation.neighbours)} nearest films of other patients"
    parts.append(render_hits(explanation.neighbours, title))
    return Group(*parts)
