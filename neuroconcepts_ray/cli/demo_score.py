"""The demo's figures, each beside its control, on role test; the only place where the truth meets a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.sources import read_source
from neuroconcepts_ray.catalog.tables import Catalog, load_catalog, load_sources, positions
from neuroconcepts_ray.classifier.evaluate import evaluate as evaluate_classifier
from neuroconcepts_ray.imaging.decode import decode
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.naming.tables import load_names
from neuroconcepts_ray.neurons.tables import load_codes
from neuroconcepts_ray.phantom.scoring.cells import plain
from neuroconcepts_ray.phantom.scoring.controls import linear, random_weights, thumbnails
from neuroconcepts_ray.phantom.scoring.factors import VISIBLE, Question
from neuroconcepts_ray.phantom.scoring.names import GivenName, names_right
from neuroconcepts_ray.phantom.scoring.recovery import Candidates, recover
from neuroconcepts_ray.phantom.scoring.truth import load_truth
from neuroconcepts_ray.retrieval.assemble import Explainer
from neuroconcepts_ray.retrieval.query import TOP
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.sae.measure import measure

QUERIES = 200
"""Images whose neighbours are compared with those of an exhaustive search."""

Have = Mapping[str, Manifest]


def black_box(lake: Lake, have: Have, catalog: Catalog, root: str) -> dict[str, Any]:
    """AUROC of the classifier on test, beside logistic regression on 32×32 pixels."""
    ids, logits = load_activations(lake, have["activations.logits"])
    rows = positions(ids, catalog.image_ids)
    facts = have["classifier"].facts
    y, roles, test = catalog.y[rows], catalog.roles[rows], catalog.roles[rows] == "test"
    labels = list(facts["labels"])
    figures = evaluate_classifier(logits[test], y[test], catalog.groups[rows][test], labels, str(facts["task"]))
    sources = load_sources(lake, have["catalog"])
    films = [decode(read_source(root, sources[image_id])) for image_id in ids.tolist()]
    pixels = linear(thumbnails(films), y, roles)[test]
    control = evaluate_classifier(pixels, y[test], catalog.groups[rows][test], labels, "multilabel")
    return {
        "macro_auroc": figures["macro"]["auroc"],
        "macro_auroc_interval": [figures["macro"]["low"], figures["macro"]["high"]],
        "pixel_linear_macro_auroc": control["macro"]["auroc"],
        "labels": {
            name: {**figure, "pixel_linear_auroc": control["labels"][name]["auroc"]}
            for name, figure in figures["labels"].items()
        },
    }


def neurons(lake: Lake, have: Have, catalog: Catalog, truth_root: Path) -> dict[str, Any]:
    """Recovery of the visible findings, and names against the truth, for each space."""
    truth = load_truth(truth_root)
    ids, x = load_activations(lake, have["activations.pre_logits"])
    planted = truth.planted(ids)
    rows = positions(ids, catalog.image_ids)
    roles = catalog.roles[rows]
    # The dense units themselves, since their codes keep only the largest of each image.
    methods = {"units": Candidates(x), "random": Candidates(x @ random_weights(x.shape[1], latents(have)))}
    names: dict[str, Any] = {}
    for name in sorted(have):
        kind, _, space = name.partition(".")
        if kind != "codes":
            continue
        scores = load_codes(lake, have[name]).matrix.toarray()
        methods.setdefault(space, Candidates(scores))
        given = [GivenName(n.neuron, n.name, n.polarity) for n in load_names(lake, have[f"names.{space}"]).values()]
        right = names_right(given, scores, planted, roles)
        names[space] = {
            "given": right.given,
            "right": right.right,
            "when_shuffled": have[f"names.{space}"].facts["named_when_shuffled"]["share"],
            "neurons": scores.shape[1],
        }
    asked = [Question(finding, "labelled", planted[finding].astype(np.float64)) for finding in VISIBLE]
    found = recover(methods, x, asked, roles, catalog.groups[rows])
    shares = {method: found.share(method)[0].tolist() for method in methods}
    figures = {m: {q.name: plain(value) for q, value in zip(asked, of, strict=True)} for m, of in shares.items()}
    probe = {finding: figure["auroc"] for finding, figure in found.probe.table().items()}
    return {"recovery": figures, "probe_auroc": probe, "names": names}


def latents(have: Have) -> int:
    """Number of latents."""
    return int(have["codes.latents"].facts["n"])


def explanation_error(lake: Lake, have: Have) -> float:
    """Largest |sum of the parts − logit| over all images, labels and spaces."""
    worst = 0.0
    for space in sorted(name.removeprefix("index.") for name in have if name.startswith("index.")):
        explainer = Explainer.open(lake, have, space)
        for image_id, row in explainer.row.items():
            parts = explainer.decompose(image_id)
            total = parts.terms.sum(axis=0) + parts.bias_dec + parts.residual + parts.bias
            worst = max(worst, float(np.abs(total - explainer.logits[row]).max()))
    return worst


def recall(lake: Lake, have: Have, catalog: Catalog) -> float:
    """Share of the 20 nearest films of an exhaustive dense search that the index gives, patients excluded."""
    service = SearchService.open(lake, have["index.latents"])
    codes = load_codes(lake, have["codes.latents"])
    dense = codes.matrix.toarray().astype(np.float64)
    norms = np.linalg.norm(dense, axis=1)
    groups = catalog.groups[positions(codes.image_ids, catalog.image_ids)]
    shares = []
    for row in np.random.default_rng(0).permutation(len(dense))[:QUERIES]:
        with np.errstate(divide="ignore", invalid="ignore"):
            cosine = np.nan_to_num(dense @ dense[row] / (norms * norms[row]), nan=0.0)
        cosine[groups == groups[row]] = -1
        best = [at for at in np.lexsort((codes.image_ids, -cosine))[:TOP] if cosine[at] > 0]
        found = {hit.image_id for hit in service.like(str(codes.image_ids[row]))}
        shares.append(len(found & set(codes.image_ids[best].tolist())) / len(best) if best else 1.0)
    return float(np.mean(shares))


def score(lake: Lake, have: Have, root: str, truth_root: Path) -> dict[str, Any]:
    """All figures of ``summary.json`` but the times.

    Args:
        lake: The lake.
        have: The finished artifacts.
        root: The archive's root.
        truth_root: The phantom's truth.
    """
    catalog = load_catalog(lake, have["catalog"])
    found = neurons(lake, have, catalog, truth_root)
    facts = have["catalog"].facts
    names = found.pop("names")
    return {
        "counts": {
            **{key: facts[key] for key in ("images", "studies", "groups", "roles")},
            "quarantined": len(have["activations.pre_logits"].quarantined),
            "activations": have["activations.pre_logits"].images,
            "latents": latents(have),
            "units": have["codes.units"].facts["n"],
        },
        "black_box": black_box(lake, have, catalog, root),
        "sae": measure(lake, have, "test"),
        "neurons": found,
        "names": {**names["latents"], "units": names["units"]},
        "explain": {"max_error": explanation_error(lake, have)},
        "retrieval": {"recall_at_20": recall(lake, have, catalog)},
    }
