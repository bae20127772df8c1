"""Counterfactual twins through a finished chain, and the archive out of distribution: what is relied on?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from benchmarks.science_opened import METHODS, Opened, labels_of, read_films
from benchmarks.science_score import told
from neuroconcepts_ray import pipeline
from neuroconcepts_ray.activations.fresh import infer
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.phantom.scoring.cells import Cells, cells, plain
from neuroconcepts_ray.phantom.scoring.factors import PARENT, UNLABELLED, VISIBLE
from neuroconcepts_ray.phantom.scoring.recovery import Recovery
from neuroconcepts_ray.phantom.scoring.truth import Truth, Twins
from neuroconcepts_ray.phantom.scoring.twins import Estimate, effect, in_deviations, mean, mean_of, moves, reliance
from neuroconcepts_ray.phantom.truth import FACTORS
from neuroconcepts_ray.phantom.world import SHORTCUTS
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.stats import interval


def _plain(estimate: Estimate) -> dict[str, Any]:
    figures = (estimate.value, estimate.low, estimate.high)
    return {**dict(zip(("value", "low", "high"), map(plain, figures), strict=True)), "n": estimate.n}


def _family(factor: str) -> str:
    return PARENT.get(factor, factor)


def toggled(run: Opened, found: Recovery, twins: Twins, folder: Path, ties: Mapping[str, str]) -> dict[str, Any]:
    """What toggling each factor does to neurons, logits and contributions.

    The neuron of a factor is the one that was chosen for it on role select, never by the twins.

    Args:
        run: The chain.
        found: Which neuron was chosen for what.
        twins: The pairs.
        folder: Where their films lie.
        ties: Shortcut → the finding that it is tied to.
    """
    at = {name: number for number, name in enumerate(twins.films)}
    seen = infer(run.lake, run.have, twins.films, [(folder / f"{name}.jpg").read_bytes() for name in twins.films])
    without = np.array([at[name] for name in twins.without.tolist()], dtype=np.int64)
    having = np.array([at[name] for name in twins.having.tolist()], dtype=np.int64)
    logits = seen["logits"].astype(np.float64)
    logit = {name: (logits[having] - logits[without])[:, column] for column, name in enumerate(run.head.labels)}
    pairs = {factor: twins.factor == factor for factor in FACTORS if (twins.factor == factor).any()}
    neurons = {method: _neurons(run, found, method, seen["pre_logits"], without, having, pairs) for method in METHODS}
    logits_told = {
        factor: {"change": _plain(mean(logit[factor][rows])), "right": _plain(mean(moves(logit[factor][rows])))}
        for factor, rows in pairs.items()
        if factor in logit
    }
    return {"neurons": neurons, "logits": logits_told, "reliance": _reliance(logit, pairs, ties)}


def _neurons(
    run: Opened,
    found: Recovery,
    method: str,
    x: Float[np.ndarray, "f d"],
    without: Shaped[np.ndarray, " p"],
    having: Shaped[np.ndarray, " p"],
    pairs: Mapping[str, Shaped[np.ndarray, " p"]],
) -> dict[str, Any]:
    one, chosen = run.methods[method], found.chosen[method]
    names = [question.name for question in found.questions]
    spread = chosen.scores(one.encode(run.x[run.test])).std(axis=0)
    said = chosen.scores(one.encode(x))
    change = said[having] - said[without]
    scaled = in_deviations(change, spread)
    usable = chosen.neurons >= 0
    each: dict[str, Any] = {}
    effects = {}
    for factor, rows in pairs.items():
        own = names.index(factor)
        each[factor] = None
        if not usable[own]:
            continue
        # A neuron that was chosen for two factors stands among the others of each: it tells them not apart.
        others = [
            other
            for other, question in enumerate(found.questions)
            if usable[other]
            and question.name in FACTORS
            and question.kind != "invisible"
            and _family(question.name) != _family(factor)
        ]
        effects[factor] = effect(scaled[rows], own, others).figures
        each[factor] = {key: _plain(mean(values)) for key, values in effects[factor].items()}
        if one.influence is not None and factor in run.head.labels:
            # The neuron's own term of the logit: its activation, whatever sign it was chosen by, times its influence.
            weight = one.influence[run.head.labels.index(factor), chosen.neurons[own]] * chosen.signs[own]
            each[factor]["contribution"] = _plain(mean(change[rows, own] * weight))
    kinds = {question.name: question.kind for question in found.questions}
    means: dict[str, Any] = {}
    for kind, of in {"labelled": ("labelled",), "all unlabelled": UNLABELLED, "invisible": ("invisible",)}.items():
        some = [figures for factor, figures in effects.items() if kinds[factor] in of]
        if some:
            means[kind] = {key: _plain(mean_of([figures[key] for figures in some])) for key in some[0]}
            means[kind]["factors"] = len(some)
    return {"each": each, "means": means}


def _reliance(
    logit: Mapping[str, Float[np.ndarray, " p"]], pairs: Mapping[str, Shaped[np.ndarray, " p"]], ties: Mapping[str, str]
) -> dict[str, Any]:
    """Each shortcut's effect on the logit of its own finding, and, as a control, on those of untied findings."""
    figures = {}
    for shortcut in SHORTCUTS:
        tied = ties[shortcut]
        if shortcut not in pairs or tied not in pairs or tied not in logit:
            continue
        rows = pairs[shortcut]
        untied = [name for name in VISIBLE if name in logit and name in pairs and name not in ties.values()]
        control = [float(reliance(logit[name][rows], logit[name][pairs[name]]).value) for name in untied]
        figures[shortcut] = {
            "finding": tied,
            "shortcut": _plain(mean(logit[tied][rows])),
            "itself": _plain(mean(logit[tied][pairs[tied]])),
            "reliance": _plain(reliance(logit[tied][rows], logit[tied][pairs[tied]])),
            "untied": plain(float(np.mean(control))) if control else None,
        }
    return figures


def abroad(
    run: Opened, truth: Truth, file: Path, truth_abroad: Truth, ties: Mapping[str, str], least: int
) -> dict[str, Any]:
    """The network at home (role test) and on other patients whose artefacts follow the findings' absence.

    Args:
        run: The chain.
        truth: Its truth.
        file: Pipeline file of the archive abroad; its catalog is finished.
        truth_abroad: Its truth.
        ties: Shortcut → the finding that it is tied to.
        least: Fewest positives and negatives.
    """
    line = Pipeline(pipeline.load(file, []))
    have = line.artifacts("catalog")
    catalog = load_catalog(line.lake, have["catalog"])
    ids, labels = catalog.image_ids, run.head.labels
    films = read_films(line.lake, have["catalog"], line.config.catalog.root, ids.tolist())
    logits = infer(run.lake, run.have, ids.tolist(), films)["logits"].astype(np.float64)
    away = {"labels": labels_of(catalog, ids, labels), "truth": told(truth_abroad, ids, labels)}
    home = {"labels": run.y, "truth": told(truth, run.ids, labels)}
    figures: dict[str, Any] = {}
    for against in ("labels", "truth"):
        inside = cells(
            run.logits[run.test].astype(np.float64), home[against][run.test], run.groups[run.test], labels, least=least
        )
        outside = cells(logits, away[against], catalog.groups, labels, least=least)
        figures[against] = _drops(inside, outside, ties)
    return figures


def _drops(inside: Cells, outside: Cells, ties: Mapping[str, str]) -> dict[str, Any]:
    # Other patients: their resamples are independent of those at home. Both begin with one seed, hence the reversal.
    point, drawn = inside.auroc - outside.auroc, inside.draws - outside.draws[::-1]
    by = {finding: shortcut for shortcut, finding in ties.items()}
    home, away = inside.table(), outside.table()
    each, columns = {}, {"tied": [], "untied": []}
    for at, name in enumerate(inside.names):
        if name not in VISIBLE or not (inside.usable[at] and outside.usable[at]):
            continue
        columns["tied" if name in by else "untied"].append(at)
        low, high = interval(drawn[:, at]).tolist()
        drop = {"value": float(point[at]), "low": low, "high": high}
        each[name] = {"shortcut": by.get(name), "in": home[name], "out": away[name], "drop": drop}
    means = {}
    for kind, some in columns.items():
        if some:
            low, high = interval(drawn[:, some].mean(axis=1)).tolist()
            means[kind] = {"value": float(point[some].mean()), "low": low, "high": high, "findings": len(some)}
    return {
        "each": each,
        "mean_drop": means,
        "macro_in": inside.macro(VISIBLE),
        "macro_out": outside.macro(VISIBLE),
    }
