"""What a finished chain gives back of the truth, each figure beside its controls; plain JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from benchmarks.science_opened import METHODS, Opened
from neuroconcepts_ray.phantom.scoring.cells import cells, plain
from neuroconcepts_ray.phantom.scoring.controls import linear
from neuroconcepts_ray.phantom.scoring.factors import (
    INVISIBLE,
    KINDS,
    NO_FINDING,
    UNLABELLED,
    VISIBLE,
    Question,
    questions,
    without_findings,
)
from neuroconcepts_ray.phantom.scoring.names import names_right
from neuroconcepts_ray.phantom.scoring.recovery import Recovery, choose, recover
from neuroconcepts_ray.phantom.scoring.truth import Truth
from neuroconcepts_ray.stats import MIN_EVALUABLE

GROUPS = {"visible": VISIBLE, "no finding": (NO_FINDING,), "invisible": INVISIBLE}
"""Labels that are told apart: those that a film shows, the one made of all others, and those that no film shows."""


def told(truth: Truth, ids: Shaped[np.ndarray, " n"], labels: Sequence[str]) -> Float[np.ndarray, "n l"]:
    """The labels as the truth has them; NaN in a column that it knows nothing of."""
    planted = truth.planted(ids)
    known = {**planted, **truth.planted(ids, "unseen"), NO_FINDING: without_findings(planted)}
    return np.stack([known[name].astype(float) if name in known else np.full(len(ids), np.nan) for name in labels], 1)


def readers(run: Opened) -> dict[str, Float[np.ndarray, "n l"]]:
    """Scores of every film for every label by the network and its two controls."""
    return {
        "black box": run.logits.astype(np.float64),
        "refitted head": linear(run.x, run.y, run.roles),
        "linear on pixels": linear(run.pixels(), run.y, run.roles),
    }


def black_box(run: Opened, scores: Mapping[str, Float[np.ndarray, "n l"]], truth: Truth, least: int) -> dict[str, Any]:
    """AUROC on role test against the archive's labels and against the truth, by network, refitted head and pixels."""
    figures: dict[str, Any] = {}
    for against, y in (("labels", run.y), ("truth", told(truth, run.ids, run.head.labels))):
        figures[against] = {}
        for name, score in scores.items():
            found = cells(score[run.test], y[run.test], run.groups[run.test], run.head.labels, least=least)
            macros = {group: found.macro(labels) for group, labels in GROUPS.items()}
            figures[against][name] = {**macros, "each": found.table()}
    return figures


def chance(run: Opened, scores: Mapping[str, Float[np.ndarray, "n l"]], least: int) -> list[dict[str, Any]]:
    """Every method by every label of the archive on role test, and whether its interval covers one half.

    For a null archive. Neurons are chosen on role select by the same labels.
    """
    labels, test = run.head.labels, run.test
    asked = [Question(name, "labelled", run.y[:, at]) for at, name in enumerate(labels)]
    told_by: dict[str, Float[np.ndarray, "t l"]] = {name: score[test] for name, score in scores.items()}
    for name, one in run.candidates.items():
        chosen = choose(one, asked, run.roles, least)
        told_by[name] = np.where(chosen.neurons >= 0, chosen.scores(one.scores[test]), np.nan)
    rows = []
    for name, score in told_by.items():
        y = np.where(np.isnan(score), np.nan, run.y[test])
        for label, figure in cells(np.nan_to_num(score), y, run.groups[test], labels, least=least).table().items():
            covers = None if figure["auroc"] is None else bool(figure["low"] <= 0.5 <= figure["high"])
            rows.append({"method": name, "label": label, **figure, "covers": covers})
    return rows


def asked(run: Opened, truth: Truth, least: int = MIN_EVALUABLE) -> Recovery:
    """Recovery of every question by every method."""
    return recover(run.candidates, run.x, questions(truth, run.ids, run.frontal), run.roles, run.groups, least=least)


def recovered(found: Recovery) -> dict[str, Any]:
    """The recovery of each question, and its mean by kind and method."""

    def each(at: int, tables: Mapping[str, Mapping[str, Any]], probe: Mapping[str, Any]) -> dict[str, Any]:
        question = found.questions[at]
        methods = {}
        for name in METHODS:
            points, bounds = shares[name]
            share = {"share": points[at], "share_low": bounds[0, at], "share_high": bounds[1, at]}
            figure = tables[name][question.name]
            methods[name] = {key: figure[key] for key in ("auroc", "low", "high")}
            methods[name] |= {key: plain(value) for key, value in share.items()}
            methods[name]["neuron"] = int(found.chosen[name].neurons[at])
        about = {"kind": question.kind, "n": probe["n"], "positives": probe["positives"]}
        return about | {"probe": {key: probe[key] for key in ("auroc", "low", "high")}, "methods": methods}

    shares = {name: found.share(name) for name in METHODS}
    tables = {name: cell.table() for name, cell in found.found.items()}
    probes = found.probe.table()
    kinds = {kind: (kind,) for kind in KINDS if kind != "invisible"} | {"all unlabelled": UNLABELLED}
    return {
        "questions": {q.name: each(at, tables, probes[q.name]) for at, q in enumerate(found.questions)},
        "mean_share": {kind: {name: _mean(found, name, of) for name in METHODS} for kind, of in kinds.items()},
        "latents_less": {kind: {name: _less(found, name, of) for name in METHODS[1:]} for kind, of in kinds.items()},
    }


def _mean(found: Recovery, method: str, kinds: Sequence[str]) -> dict[str, Any]:
    *figures, questions = found.mean_share(method, kinds)
    return {**dict(zip(("share", "low", "high"), map(plain, figures), strict=True)), "questions": questions}


def _less(found: Recovery, method: str, kinds: Sequence[str]) -> dict[str, Any]:
    return dict(zip(("share", "low", "high"), map(plain, found.less("latents", method, kinds)), strict=True))


def names(run: Opened, truth: Truth) -> dict[str, Any]:
    """Names given and right in each space, beside the share that is named when reports are shuffled."""
    planted, scores = truth.planted(run.ids), run.candidates
    figures = {}
    for space in ("latents", "units"):
        right = names_right(run.names(space), scores[space].scores, planted, run.roles)
        shuffled = run.have[f"names.{space}"].facts["named_when_shuffled"]["share"]
        figures[space] = {"neurons": scores[space].scores.shape[1], "when_shuffled": shuffled, **asdict(right)}
    return figures
