"""All figures of one SAE, on a role that nothing was fitted on: the artifact's facts, and ``metrics.json``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.roles import check_disjoint
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.classifier.head import load_head
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.sae.config import FIT_ROLES
from neuroconcepts_ray.sae.controls import code_bits, components_at, random_fvu
from neuroconcepts_ray.sae.fidelity import fidelity
from neuroconcepts_ray.sae.metrics import BATCH, evaluate, fvu, pca_fvu
from neuroconcepts_ray.sae.model import SAE
from neuroconcepts_ray.sae.monosemantic import monosemanticity, unit_rows
from neuroconcepts_ray.sae.rows import has_role

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


def figures(sae: SAE, fitted: Float[np.ndarray, "m d"], x: Float[np.ndarray, "h d"]) -> dict[str, Any]:
    """Every figure that needs no labels.

    Args:
        sae: The SAE.
        fitted: Activations of the images it was trained on.
        x: Of held-out images.

    Returns:
        What :class:`neuroconcepts_ray.sae.metrics.Metrics` has, and: ``fit_fvu`` on the training images;
        ``random_fvu`` of a random dictionary at equal n and L0; ``bits`` of a code and ``pca_bits_fvu`` of PCA at as
        many; ``dead_held_out``, the share of latents that fire for no held-out image; ``dense_fraction`` and
        ``half_fraction``, the shares that fire for more than a tenth and more than half of them;
        ``monosemanticity``, the mean over latents weighed alike, and ``monosemanticity_control``, the same after the
        images were shuffled against the codes.
    """
    base = evaluate(sae, x, fitted)
    z_fit, z = codes(sae, fitted), codes(sae, x)
    W_dec, b_dec = sae.W_dec.cpu().numpy(), sae.b_dec.cpu().numpy()
    density = np.asarray((z > 0).mean(axis=0)).ravel()
    bits = code_bits(sae.n, base.l0)
    e = unit_rows(x)
    shuffled = e[np.random.default_rng(0).permutation(len(e))]

    def mean_score(embeddings: Float[np.ndarray, "h d"]) -> float | None:
        score = monosemanticity(z, embeddings)
        return float(np.nanmean(score)) if np.isfinite(score).any() else None

    return base.facts() | {
        "fit_fvu": fvu(fitted, z_fit @ W_dec + b_dec),
        "random_fvu": random_fvu(fitted.mean(axis=0, dtype=np.float64), x, sae.n, round(base.l0)),
        "bits": bits,
        "pca_bits_fvu": pca_fvu(fitted, x, components_at(bits)),
        "dead_held_out": float((density == 0).mean()),
        "dense_fraction": float((density > 0.1).mean()),
        "half_fraction": float((density > 0.5).mean()),
        "monosemanticity": mean_score(e),
        "monosemanticity_control": mean_score(shuffled),
    }


def measured(
    lake: Lake, have: Mapping[str, Manifest], tap: str, role: str, sae: SAE
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures on one role.

    Args:
        lake: The lake.
        have: Artifacts by name: ``catalog``, the tap's activations and, for AUROC, ``classifier``.
        tap: What the SAE reads.
        role: The role to measure on.
        sae: The SAE.

    Returns:
        The artifact's facts, and the content of :data:`PART`: the facts, the density histogram on held-out images, and
        ``auroc`` (see :func:`neuroconcepts_ray.sae.fidelity.fidelity`; null for another tap than what the head takes).

    Raises:
        InputError: The role trained the SAE, or has no images.
        LeakageError: A group has more than one role.
    """
    if role in FIT_ROLES:
        raise InputError("this role trained the SAE: a figure on it is not held out", value=role, limit="other roles")
    catalog = load_catalog(lake, have["catalog"])
    check_disjoint(catalog.groups, catalog.roles)
    ids, x = load_activations(lake, have[f"activations.{tap}"])
    trained = has_role(ids, catalog.image_ids, catalog.roles, FIT_ROLES)
    held = has_role(ids, catalog.image_ids, catalog.roles, (role,))
    fitted, held_out = x[trained], x[held]
    facts = figures(sae, fitted, held_out)
    z = codes(sae, held_out)
    auroc = None
    if tap == HEAD_TAP and "classifier" in have:
        head = load_head(lake, have["classifier"])
        at = {image_id: row for row, image_id in enumerate(catalog.image_ids.tolist())}
        rows = np.array([at[image_id] for image_id in ids[held].tolist()])
        y = np.full((len(rows), len(head.labels)), np.nan)
        for column, label in enumerate(head.labels):
            if label in catalog.labels:  # a classifier brought along may know labels of its own
                y[:, column] = catalog.y[rows, catalog.labels.index(label)]
        mean_z = np.asarray(codes(sae, fitted).mean(axis=0), dtype=np.float64).ravel()
        W_dec, b_dec = sae.W_dec.cpu().numpy(), sae.b_dec.cpu().numpy()
        dense = z.toarray().astype(np.float64)
        auroc = fidelity(head, held_out, dense, W_dec, b_dec, mean_z, y, catalog.groups[rows])
    density = np.asarray((z > 0).mean(axis=0)).ravel()
    return facts, {"role": role, "facts": facts, "density": histogram(density), "auroc": auroc}
