"""From committed artifacts to the quality of retrieval in a space: figures beside their controls, on held-out patients.

Queries and gallery are of roles that the classifier was neither fitted nor stopped on. Precision and the like are of an
exhaustive ranking over the stored codes; that the index gives the same is a figure of its own (recall), and it is the
index whose latency is taken.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.tables import caveats, load_catalog, positions
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.neurons.tables import load_codes
from neuroconcepts_ray.retrieval import evaluate, flat
from neuroconcepts_ray.retrieval.changes import published
from neuroconcepts_ray.retrieval.fetch import default_cache
from neuroconcepts_ray.retrieval.flat import Flat
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.relevance import agreement, answerable, gower
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.sides import Sides, check_roles, choose
from neuroconcepts_ray.sae.config import FIT_ROLES
from neuroconcepts_ray.sae.rows import has_role

QUERY_ROLES, GALLERY_ROLES = ("test",), ("verify", "test")

CODES, CHANCE, METADATA, DENSE, STANDARDISED = "codes", "chance", "metadata", "dense", "dense, standardised"

CONTROLS = (CHANCE, METADATA, DENSE, STANDARDISED)


def measure(
    lake: Lake,
    have: Mapping[str, Manifest],
    space: str,
    *,
    query_roles: Sequence[str] = QUERY_ROLES,
    gallery_roles: Sequence[str] = GALLERY_ROLES,
    queries: int = 1000,
    seed: int = 0,
    draws: int = 200,
    cache: Path | None = None,
) -> dict[str, Any]:
    """How good retrieval in a space is, as plain JSON.

    Args:
        lake: The lake.
        have: The finished artifacts: catalog, activations, codes and index.
        space: The code space.
        query_roles: Roles of the images that ask.
        gallery_roles: Roles of the images that are searched.
        queries: Most images that ask, drawn at random.
        seed: Seed of that draw, and of the orders of ties.
        draws: Resamples of the patient bootstrap.
        cache: Folder for what has been fetched and checked.

    Raises:
        ConfigError: A role that the classifier has seen.
        InputError: No image to ask or to search.
    """
    check_roles(query_roles, gallery_roles)
    catalog = load_catalog(lake, have["catalog"])
    codes = load_codes(lake, have[f"codes.{space}"])
    index = published(lake, have[f"index.{space}"]).open(lake, cache or default_cache())
    live = np.array([index.find(image_id) is not None for image_id in codes.image_ids.tolist()], bool)
    at = positions(codes.image_ids, catalog.image_ids)
    row = {int(place): number for number, place in enumerate(at.tolist()) if live[number]}
    sides = choose(
        catalog.image_ids,
        np.where(np.isin(np.arange(len(catalog)), list(row)), catalog.roles, ""),
        answerable(catalog.y, catalog.labels, catalog.task),
        query_roles,
        gallery_roles,
        queries,
        seed,
    )
    groups = catalog.groups[sides.queries]
    barred = groups[:, None] == catalog.groups[sides.gallery][None]
    relevance = agreement(catalog.y[sides.queries], catalog.y[sides.gallery], catalog.labels, catalog.task)
    columns = {"view": catalog.views, **catalog.columns}
    tap = str(have[f"codes.{space}"].facts["tap"])
    scores = {CODES: _cosines(codes.matrix, [row[i] for i in sides.queries], [row[i] for i in sides.gallery])}
    scores |= _dense(lake, have[f"activations.{tap}"], catalog.image_ids, catalog.roles, sides)
    ranked = {name: evaluate.order(some, barred) for name, some in scores.items()}

    found = {name: evaluate.per_query(places, relevance, barred) for name, places in ranked.items()}
    found[CHANCE] = evaluate.chance(relevance, barred)
    alike = gower(
        *({name: values[rows] for name, values in columns.items()} for rows in (sides.queries, sides.gallery))
    )
    found[METADATA] = evaluate.tied(alike, relevance, barred, seed=seed)
    differences = {
        control: {
            metric: evaluate.figure(found[CODES][metric] - found[control][metric], groups, draws=draws)
            for metric in evaluate.METRICS
        }
        for control in CONTROLS
    }
    recall, seconds = _ask(index, catalog.image_ids, sides, sorted(gallery_roles), scores[CODES], ranked[CODES], barred)
    return {
        "space": space,
        "tap": tap,
        "roles": {"queries": sorted(query_roles), "gallery": sorted(gallery_roles)},
        "queries": {
            "images": len(sides.queries),
            "groups": len(np.unique(groups)),
            "without_positive": sides.unanswerable,
        },
        "gallery": {"images": len(sides.gallery), "groups": len(np.unique(catalog.groups[sides.gallery]))},
        "metadata": sorted(columns),
        "systems": {name: evaluate.figures(found[name], groups, draws=draws) for name in (CODES, *CONTROLS)},
        "differences": differences,
        "labels": evaluate.by_label(
            ranked, catalog.y[sides.queries], catalog.y[sides.gallery], barred, catalog.labels, groups, draws=draws
        ),
        "recall@20": evaluate.figure(recall, groups, draws=draws),
        "overlap@20": {
            name: evaluate.figure(evaluate.shared(ranked[CODES], ranked[name], barred), groups, draws=draws)
            for name in (DENSE, STANDARDISED)
        },
        "latency": evaluate.latency(seconds),
        "remarks": [*remarks(differences), *caveats(have["catalog"].facts)],
    }


def remarks(differences: Mapping[str, Mapping[str, evaluate.Figure]]) -> list[str]:
    """What a reader of the table must not overlook: each control that does as well as the codes, or better.

    Args:
        differences: Codes less control, by control and metric, paired by query.
    """
    said = []
    for control, by_metric in differences.items():
        held = {metric: one for metric, one in by_metric.items() if one["value"] is not None}
        better = [metric for metric, one in held.items() if one["high"] < 0]
        equal = [metric for metric, one in held.items() if one["low"] <= 0 <= one["high"]]
        if better:
            said.append(f"{_start(control)} does better than the codes at {', '.join(better)}.")
        if equal:
            said.append(
                f"{_start(control)} does as well as the codes at {', '.join(equal)}: the 95 % interval of the "
                "difference holds 0."
            )
    return said or ["The codes do better than every control at every metric (95 % intervals of the differences)."]


def _start(control: str) -> str:
    words = {CHANCE: "Chance", METADATA: "Metadata alone", DENSE: "The dense embedding"}
    return words.get(control, "The standardised dense embedding")


def _cosines(matrix: Any, queries: list[int], gallery: list[int]) -> Float64[np.ndarray, "q g"]:
    wide = matrix.astype(np.float64)
    norms = np.sqrt(np.asarray(wide.multiply(wide).sum(axis=1)).ravel())
    products = (wide[queries] @ wide[gallery].T).toarray()
    lengths = norms[queries][:, None] * norms[gallery][None]
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    # So that rounding does not decide between equal codes: ties go by image_id, as they do in the index.
    rounded: Float64[np.ndarray, "q g"] = np.round(cosines, 12)
    return rounded


def _dense(
    lake: Lake,
    activations: Manifest,
    known: Shaped[np.ndarray, " m"],
    roles: Shaped[np.ndarray, " m"],
    sides: Sides,
) -> dict[str, Float64[np.ndarray, "q g"]]:
    """Cosines of a tap's vectors, as they are and as z-scores over fit and probe."""
    ids, x = load_activations(lake, activations)
    order = np.argsort(ids, kind="stable")
    fitted = Normalisation.of(x[has_role(ids, known, roles, FIT_ROLES)])
    queries, gallery = (order[np.searchsorted(ids[order], known[rows])] for rows in (sides.queries, sides.gallery))

    def cosines(vectors: Float[np.ndarray, "m d"]) -> Float64[np.ndarray, "q g"]:
        opened = Flat.open(flat.build(flat.unit(vectors[gallery])), rows=len(gallery), n=vectors.shape[1])
        return np.stack([opened.scores(flat.unit(vectors[one])) for one in queries.tolist()])

    return {DENSE: cosines(x), STANDARDISED: cosines((x - fitted.mean) / fitted.std)}


def _ask(
    index: Index,
    image_ids: Shaped[np.ndarray, " m"],
    sides: Sides,
    roles: list[str],
    scores: Float64[np.ndarray, "q g"],
    ranked: Int[np.ndarray, "q g"],
    barred: Bool[np.ndarray, "q g"],
) -> tuple[Float64[np.ndarray, " q"], list[float]]:
    """Recall of the index against the exhaustive ranking, and what each query took; the first is asked twice."""
    place = {image_id: column for column, image_id in enumerate(image_ids[sides.gallery].tolist())}
    service = SearchService(index)
    there = [role for role in roles if role in index.values("role")]
    recall, seconds = np.full(len(sides.queries), np.nan), []
    for q, image_id in enumerate(image_ids[sides.queries].tolist()):
        query = validate(Query, {"like": [image_id], "top": evaluate.DEPTH, "where": {"role": there}})
        for _ in range(2 if q == 0 else 1):
            start = time.perf_counter()
            hits = service.search(query).hits
            taken = time.perf_counter() - start
        seconds.append(taken)
        best = scores[q, ranked[q]][: min(evaluate.DEPTH, int((~barred[q]).sum()))]
        best = best[best > 0]
        if len(best):
            # By score, not by name: of images that score the same, either is right.
            right = [hit for hit in hits if scores[q, place[hit.image_id]] >= best[-1] - 1e-9]
            recall[q] = len(right) / len(best)
    return recall, seconds
