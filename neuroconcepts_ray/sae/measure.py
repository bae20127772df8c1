"""All figures of one SAE, on a role that nothing was fitted on: the artifact's facts, and ``metrics.json``."""

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy import sparse
from threadpoolctl import threadpool_limits

from neuroconcepts_ray.catalog.tables import Catalog, load_catalog, positions
from neuroconcepts_ray.classifier.head import load_head
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.table import tensor_rows
from neuroconcepts_ray.sae.config import FIT_ROLES, SAEConfig
from neuroconcepts_ray.sae.controls import code_bits, components_at, random_fvu
from neuroconcepts_ray.sae.fidelity import fidelity
from neuroconcepts_ray.sae.metrics import BATCH, Gathered, evaluate, gather, pca_fvu
from neuroconcepts_ray.sae.model import SAE, load_sae
from neuroconcepts_ray.sae.monosemantic import monosemanticity, unit_rows
from neuroconcepts_ray.sae.source import no_rows, training_rows

PART = "metrics.json"
EDGES = (0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0)
"""Edges of the density histogram; what never fires is counted beside it."""

HEAD_TAP = "pre_logits"


@torch.inference_mode()
def codes(sae: SAE, x: Float[np.ndarray, "m d"]) -> sparse.csr_array:
    """Codes of images, one row each."""
    blocks = [
        sparse.csr_array(sae.encode_dense(torch.from_numpy(x[start : start + BATCH]).to(sae.b_dec)).cpu().numpy())
        for start in range(0, len(x), BATCH)
    ]
    return sparse.csr_array(sparse.vstack(blocks, format="csr"))


def histogram(density: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """How many latents fire for which share of images; ``never`` counts those that do for none."""
    fired = density[density > 0]
    return {
        "edges": list(EDGES),
        "latents": np.histogram(fired, EDGES)[0].tolist(),
        "never": int((density == 0).sum()),
    }


def figures(sae: SAE, fitted: Gathered, x: Float[np.ndarray, "h d"], z: sparse.csr_array) -> dict[str, Any]:
    """Every figure that needs no labels.

    Args:
        sae: The SAE.
        fitted: What was gathered of the images that it was trained on.
        x: Activations of held-out images.
        z: Their codes.

    Returns:
        What :class:`neuroconcepts_ray.sae.metrics.Metrics` has, and: ``fit_fvu`` on the training images;
        ``random_fvu`` of a random dictionary at equal n and L0; ``bits`` of a code and ``pca_bits_fvu`` of PCA at as
        many; ``dead_held_out``, the share of latents that fire for no held-out image; ``dense_fraction`` and
        ``half_fraction``, the shares that fire for more than a tenth and more than half of them;
        ``monosemanticity``, the mean over latents weighed alike, and ``monosemanticity_control``, the same after the
        images were shuffled against the codes.
    """
    base = evaluate(sae, x, fitted)
    density = densities(z)
    bits = code_bits(sae.n, base.l0)
    e = unit_rows(x)
    shuffled = e[np.random.default_rng(0).permutation(len(e))]

    def mean_score(embeddings: Float[np.ndarray, "h d"]) -> float | None:
        score = monosemanticity(z, embeddings)
        return float(np.nanmean(score)) if np.isfinite(score).any() else None

    return base.facts() | {
        "fit_fvu": fitted.fvu,
        "random_fvu": random_fvu(fitted.mean, x, sae.n, round(base.l0)),
        "bits": bits,
        "pca_bits_fvu": pca_fvu(fitted, x, components_at(bits)),
        "dead_held_out": float((density == 0).mean()),
        "dense_fraction": float((density > 0.1).mean()),
        "half_fraction": float((density > 0.5).mean()),
        "monosemanticity": mean_score(e),
        "monosemanticity_control": mean_score(shuffled),
    }


def densities(z: sparse.csr_array) -> Float[np.ndarray, " n"]:
    """The share of images for which each latent fires."""
    density: Float[np.ndarray, " n"] = np.asarray((z > 0).mean(axis=0), dtype=np.float64).ravel()
    return density


def held_out(
    lake: Lake, catalog: Catalog, activations: Manifest, role: str, memory: float
) -> tuple[Shaped[np.ndarray, " h"], Float[np.ndarray, "h d"]]:
    """Image ids and activations of one role, evenly spaced where they are more than ``memory`` GB.

    Raises:
        InputError: The role trained the SAE, or has no images.
    """
    if role in FIT_ROLES:
        raise InputError("this role trained the SAE: a figure on it is not held out", value=role, limit="other roles")
    listed = [np.array(lake.table(part, ["image_id"])["image_id"].to_pylist(), np.str_) for part in activations.parts]
    mine = set(catalog.image_ids[catalog.roles == role].tolist())
    masks = [np.array([image_id in mine for image_id in ids.tolist()], dtype=np.bool_) for ids in listed]
    rows, d = sum(int(mask.sum()) for mask in masks), int(activations.facts["d"])
    if not rows:
        raise no_rows((role,), activations.name)
    every = max(1, ceil(rows * d * 4 / (memory * 1e9)))
    found, x, before = [], [], 0
    for part, ids, mask in zip(activations.parts, listed, masks, strict=True):
        numbers = np.flatnonzero(mask)
        numbers, before = numbers[(before + np.arange(len(numbers))) % every == 0], before + len(numbers)
        if len(numbers):
            found.append(ids[numbers])
            x.append(tensor_rows(lake.table(part, ["activation"])["activation"])[numbers])
    return np.concatenate(found), np.concatenate(x)


def _auroc(
    lake: Lake,
    classifier: Manifest,
    catalog: Catalog,
    ids: Shaped[np.ndarray, " h"],
    x: Float[np.ndarray, "h d"],
    z: sparse.csr_array,
    sae: SAE,
    fitted: Gathered,
) -> dict[str, Any]:
    head = load_head(lake, classifier)
    rows = positions(ids, catalog.image_ids)
    y = np.full((len(rows), len(head.labels)), np.nan)
    for column, label in enumerate(head.labels):
        if label in catalog.labels:  # a classifier brought along may know labels of its own
            y[:, column] = catalog.y[rows, catalog.labels.index(label)]
    W_dec, b_dec = sae.W_dec.cpu().numpy(), sae.b_dec.cpu().numpy()
    dense = z.toarray().astype(np.float64)
    return fidelity(head, x, dense, W_dec, b_dec, fitted.mean_z, y, catalog.groups[rows])


def measured(
    lake: Lake, have: Mapping[str, Manifest], tap: str, role: str, sae: SAE, memory: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures on one role.

    Args:
        lake: The lake.
        have: Artifacts by name: ``catalog``, the tap's activations and, for AUROC, ``classifier``.
        tap: What the SAE reads.
        role: The role to measure on.
        sae: The SAE.
        memory: GB of activations to hold in memory; the training images stream beyond, the held-out ones are thinned.

    Returns:
        The artifact's facts, and the content of :data:`PART`: the facts, the density histogram on held-out images, and
        ``auroc`` (see :func:`neuroconcepts_ray.sae.fidelity.fidelity`; null for another tap than what the head takes).

    Raises:
        InputError: The role trained the SAE, or has no images.
        LeakageError: A group has more than one role.
    """
    catalog, activations = load_catalog(lake, have["catalog"]), have[f"activations.{tap}"]
    ids, x = held_out(lake, catalog, activations, role, memory)
    auroc = None
    with threadpool_limits(limits=1):  # products round by the number of threads, and facts are part of the content
        fitted = gather(sae, training_rows(lake, have["catalog"], activations, memory, "cpu"))
        z = codes(sae, x)
        facts = figures(sae, fitted, x, z)
        if tap == HEAD_TAP and "classifier" in have:
            auroc = _auroc(lake, have["classifier"], catalog, ids, x, z, sae, fitted)
    return facts, {"role": role, "facts": facts, "density": histogram(densities(z)), "auroc": auroc}


def measure(lake: Lake, have: Mapping[str, Manifest], role: str) -> dict[str, Any]:
    """Figures of the artifact ``sae`` on one role, such as ``test`` for a report.

    Args:
        lake: The lake.
        have: Artifacts by name: ``catalog``, ``sae`` and the activations that it was fitted on.
        role: The role whose images it is measured on.

    Returns:
        What :func:`figures` gives.

    Raises:
        InputError: The role is one that the SAE was trained on, or has no images.
    """
    made = have["sae"]
    return measured(lake, have, str(made.facts["tap"]), role, load_sae(lake, made), SAEConfig().memory)[0]
