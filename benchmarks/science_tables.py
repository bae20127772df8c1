"""The figures of `make science` as tables for people, remarks in words, and what was asked of them."""

from collections.abc import Sequence
from typing import Any

from benchmarks.science_opened import METHODS
from neuroconcepts_ray.phantom.scoring.factors import INVISIBLE, UNLABELLED

Result = dict[str, Any]

PIXELS_AT_MOST, BLACK_BOX_AT_LEAST = 0.75, 0.90
NAMES = {"latents": "Latents", "units": "Units", "PCA": "Principal components", "random": "Random directions"}
COVERED = (0.90, 1.00)
"""Share of the cells on random labels whose 95 % interval covers one half."""


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def estimate(figure: dict[str, Any] | None, key: str, digits: int = 3, sign: bool = False, prefix: str = "") -> str:
    """A figure and its interval."""
    if figure is None or figure.get(key) is None:
        return "–"
    low, high = (number(figure[f"{prefix}{bound}"], digits, sign) for bound in ("low", "high"))
    return f"{number(figure[key], digits, sign)} ({low}, {high})"


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"\n**{title}**\n", f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def black_box(result: Result) -> list[str]:
    """Network, refitted head and pixels, against labels and truth."""
    rows, found = [], result["black_box"]
    for against, readers in found.items():
        for reader, figures in readers.items():
            count = f"{figures['visible']['labels']}"
            cells = [estimate(figures[group], "auroc") for group in ("visible", "no finding", "invisible")]
            rows.append([reader, against, cells[0], count, *cells[1:]])
    headings = ("reader", "against the", "visible labels, macro AUROC", "labels", "No Finding", "invisible labels")
    tables = [table("Black box on role test, 95 % intervals over patients", headings, rows)]
    rows = []
    for label, figure in found["truth"]["black box"]["each"].items():
        cells = [estimate(found["truth"][reader]["each"][label], "auroc") for reader in found["truth"]]
        rows.append([label, f"{figure['positives']} of {figure['n']}", *cells])
    return [*tables, table("Each label, against the truth", ("label", "positives", *found["truth"]), rows)]


def recovery(result: Result) -> list[str]:
    """Each question by each method, and the means by kind."""
    found, rows = result["recovery"], []
    for name, one in found["questions"].items():
        cells = [_share(one["methods"][method]) for method in METHODS]
        rows.append([name, one["kind"], f"{one['positives']} of {one['n']}", estimate(one["probe"], "auroc"), *cells])
    title = "Recovery: (AUROC − .5) / (probe − .5) of the best neuron; its AUROC where there is nothing to recover"
    tables = [table(title, ("what", "kind", "positives", "linear probe, AUROC", *METHODS), rows)]
    rows = []
    for kind, methods in found["mean_share"].items():
        less = [estimate(found["latents_less"][kind][method], "share", sign=True) for method in METHODS[1:]]
        counted = methods[METHODS[0]]["questions"]
        rows.append([kind, str(counted), *(estimate(methods[m], "share") for m in METHODS), *less])
    headings = ("kind", "questions", *METHODS, *(f"latents less {method}" for method in METHODS[1:]))
    return [*tables, table("Mean recovery", headings, rows)]


def _share(cell: dict[str, Any]) -> str:
    if cell["share"] is not None:
        return estimate(cell, "share", 2, prefix="share_")
    return "not evaluable" if cell["auroc"] is None else f"AUROC {estimate(cell, 'auroc', 2)}"


def twins(result: Result) -> list[str]:
    """What toggling does."""
    found = result["twins"]
    by = {method: found["neurons"][method] for method in METHODS}
    rows = []
    for factor in by["latents"]["each"]:
        terms = [(by[method]["each"][factor] or {}).get("contribution") for method in ("latents", "units")]
        cells = [
            estimate(term, "value", 2, sign=True) for term in (found["logits"].get(factor, {}).get("change"), *terms)
        ]
        rows.append([factor, *(_toggled(by[method]["each"][factor]) for method in METHODS), *cells])
    title = (
        "Counterfactual twins: change of the neuron chosen for it, in standard deviations; share of pairs in which it "
        "moves the right way (chance .5); mean size of the other factors' changes"
    )
    tables = [table(title, ("toggled", *METHODS, "its logit", "by the latent", "by the unit"), rows)]
    rows = []
    for kind in by["latents"]["means"]:
        for method, one in ((method, by[method]["means"].get(kind)) for method in METHODS):
            if one is not None:
                keys = ("right", "own", "others", "margin")
                rows.append([kind, method, str(one["factors"]), *(estimate(one[key], "value", 2) for key in keys)])
    headings = ("kind", "method", "factors", "right way", "own neuron", "others' size", "own less others")
    tables.append(table("Twins, mean over factors", headings, rows))
    rows = []
    for shortcut, one in found["reliance"].items():
        cells = [estimate(one[key], "value", 2, sign=True) for key in ("shortcut", "itself", "reliance")]
        rows.append([shortcut, one["finding"], *cells, number(one["untied"], 2, sign=True)])
    headings = ("shortcut", "finding", "logit, shortcut in", "logit, finding in", "reliance", "on untied findings")
    return [*tables, table("Shortcut reliance: 0 unused, 1 as much as the finding itself", headings, rows)]


def _toggled(one: dict[str, Any] | None) -> str:
    if one is None:
        return "–"
    own = estimate(one["own"], "value", 2, sign=True)
    return f"{own}; {number(one['right']['value'], 2)}; {number(one['others']['value'], 2)}"


def abroad(result: Result) -> list[str]:
    """In and out of distribution."""
    if "abroad" not in result:
        return []
    rows, found = [], result["abroad"]["truth"]
    for name, one in found["each"].items():
        positives = f"{one['in']['positives']} of {one['in']['n']}; {one['out']['positives']} of {one['out']['n']}"
        cells = [estimate(one["in"], "auroc"), estimate(one["out"], "auroc"), estimate(one["drop"], "value", sign=True)]
        rows.append([name, one["shortcut"] or "none", positives, *cells])
    for kind, one in found["mean_drop"].items():
        rows.append([f"mean of {one['findings']}", kind, "", "", "", estimate(one, "value", sign=True)])
    headings = ("finding", "shortcut", "positives in; out", "in distribution", "out of it", "drop")
    return [table("Black box where artefacts follow the findings' absence, against the truth", headings, rows)]


def covered(results: Sequence[Result]) -> tuple[int, int]:
    """Cells on random labels whose interval covers one half, and cells in all."""
    cells = [cell["covers"] for result in results for cell in result.get("random labels", [])]
    kept = [covers for covers in cells if covers is not None]
    return sum(kept), len(kept)


def nulls(result: Result) -> list[str]:
    """Names with true and with other reports; cells on random labels."""
    tables, rows = [], []
    told = {"its own reports": result} | (
        {"others' reports": result["independent reports"]} if "independent reports" in result else {}
    )
    for name, one in told.items():
        recovery = one["recovery"]["mean_share"] if "recovery" in one else one["mean_share"]
        for space, figures in one["names"].items():
            shares = [estimate(recovery[kind][space], "share") for kind in ("labelled", "all unlabelled")]
            given = [str(figures[key]) for key in ("neurons", "given", "right")]
            rows.append([name, space, *given, f"{figures['when_shuffled']:.2%}", *shares])
    headings = ("archive", "space", "neurons", "named", "right", "named when shuffled", "recovery", "unlabelled")
    tables.append(table("Names", headings, rows))
    if "random labels" in result:
        rows = []
        for method in dict.fromkeys(cell["method"] for cell in result["random labels"]):
            cells = [c for c in result["random labels"] if c["method"] == method and c["covers"] is not None]
            mean = number(sum(c["auroc"] for c in cells) / len(cells)) if cells else "–"
            rows.append([method, str(len(cells)), mean, str(sum(c["covers"] for c in cells))])
        tables.append(table("Random labels", ("method", "cells", "mean AUROC", "intervals that cover .5"), rows))
    return tables


def remarks(result: Result) -> list[str]:
    """What a reader of the tables must not overlook."""
    said, found = [], result["recovery"]
    for kind in ("labelled", "all unlabelled"):
        word = kind.removeprefix("all ")
        for method in METHODS[1:]:
            less = found["latents_less"][kind][method]
            if less["share"] is None:
                continue
            if less["high"] < 0:
                said.append(f"{NAMES[method]} recover more than latents of what is {word}.")
            elif less["low"] <= 0:
                said.append(f"{NAMES[method]} recover as much as latents of what is {word}: the interval holds 0.")
        questions = [q for q in found["questions"].values() if q["methods"]["latents"]["share"] is not None]
        mine = [q["methods"] for q in questions if q["kind"] in (UNLABELLED if kind != "labelled" else ("labelled",))]
        worse = [m for m in mine if m["random"]["share"] >= m["latents"]["share"]]
        if worse:
            said.append(f"Random directions do as well as latents on {len(worse)} of {len(mine)} questions ({word}).")
        means = {m: one["means"].get(kind) for m, one in result["twins"]["neurons"].items()}
        latents = means["latents"]
        for method in METHODS[1:]:
            one = means[method]
            if latents and one and (one["margin"]["value"] or 0) >= (latents["margin"]["value"] or 0):
                said.append(f"{NAMES[method]} answer twins as selectively as latents ({word}).")
            if latents and one and (one["right"]["value"] or 0) >= (latents["right"]["value"] or 0):
                said.append(f"{NAMES[method]} move the right way on twins as often as latents ({word}).")
    return said


def verdicts(results: Sequence[Result]) -> dict[str, Any]:
    """What issue and page ask, seed by seed."""
    boxes = [result["black_box"]["labels"] for result in results]
    macros = {
        reader: [box[reader]["visible"]["auroc"] for box in boxes] for reader in ("black box", "linear on pixels")
    }
    hits, cells = covered(results)
    told: dict[str, Any] = {
        "black box": {"asked": f"≥ {BLACK_BOX_AT_LEAST}", "found": macros["black box"]},
        "linear on pixels": {"asked": f"≤ {PIXELS_AT_MOST}", "found": macros["linear on pixels"]},
    }
    told["black box"]["holds"] = all(m is not None and m >= BLACK_BOX_AT_LEAST for m in macros["black box"])
    told["linear on pixels"]["holds"] = all(m is not None and m <= PIXELS_AT_MOST for m in macros["linear on pixels"])
    blind = [box["black box"]["each"][name] for box in (r["black_box"]["truth"] for r in results) for name in INVISIBLE]
    blind = [one for one in blind if one["auroc"] is not None]
    misses = sum(not one["low"] <= 0.5 <= one["high"] for one in blind)
    told["invisible labels at chance"] = {
        # Of 95 % intervals one in twenty may miss.
        "asked": f"at most 1 of {len(blind)} intervals misses .5", "found": misses, "holds": misses <= 1,
    }  # fmt: skip
    if cells:
        share = hits / cells
        asked = f"{COVERED[0]} to {COVERED[1]} of {cells} cells"
        told["random labels"] = {"asked": asked, "found": share, "holds": COVERED[0] <= share <= COVERED[1]}
    return told


def report(results: Sequence[Result]) -> str:
    """All of it, in Markdown."""
    lines: list[str] = []
    for result in results:
        counts = result["counts"]
        lines.append(
            f"\n## Seed {result['seed']}: {counts['images']} films of {counts['groups']} patients, "
            f"{counts['latents']} latents over {counts['units']} units"
        )
        for part in (black_box, recovery, twins, abroad, nulls):
            lines += part(result)
        lines += ["", *(f"- {remark}" for remark in remarks(result))]
    rows = []
    for name, one in verdicts(results).items():
        found = one["found"] if isinstance(one["found"], list) else [one["found"]]
        rows.append([name, one["asked"], ", ".join(number(value) for value in found), "yes" if one["holds"] else "NO"])
    return "\n".join([*lines, table("What was asked", ("figure", "asked", "found, by seed", "holds"), rows)])
