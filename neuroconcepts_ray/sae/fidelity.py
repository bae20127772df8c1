"""What the black box still tells when it reads the SAE instead of the activations: AUROC on held-out patients."""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from neuroconcepts_ray.classifier.evaluate import evaluate, macro_auroc
from neuroconcepts_ray.classifier.head import Head

TOPS = (10, 20, 100)
"""Latents that a label keeps in the curve of top latents (Mammo-SAE's)."""


def keep_top(score: Float[np.ndarray, "l n"], m: int) -> Float[np.ndarray, "l n"]:
    """1 at the m largest of each row, else 0."""
    kept = np.zeros_like(score)
    m = min(m, score.shape[1])
    np.put_along_axis(kept, np.argsort(-score, axis=1, kind="stable")[:, :m], 1.0, axis=1)
    return kept


def fidelity(
    head: Head,
    x: Float[np.ndarray, "h d"],
    z: Float[np.ndarray, "h n"],
    W_dec: Float[np.ndarray, "n d"],
    b_dec: Float[np.ndarray, " d"],
    mean_z: Float[np.ndarray, " n"],
    y: Float[np.ndarray, "h l"],
    groups: Shaped[np.ndarray, " h"],
) -> dict[str, Any]:
    """AUROC of the head on x, on x̂, and with few latents.

    Each label y keeps its own m latents, the largest |W_y·d_j| × mean activation; a logit is then
    Σ_kept z_j W_y·d_j + W_y·b_dec + b_y. The control keeps m latents drawn among those that fire.

    Args:
        head: The black box's head.
        x: Activations ``pre_logits`` of held-out images.
        z: Their codes.
        W_dec: Decoder rows.
        b_dec: Decoder bias.
        mean_z: Mean activation of each latent over images of *other* roles, which alone ranks latents.
        y: 1, 0, or NaN where masked, one column a label of the head.
        groups: The patient of each image.

    Returns:
        ``{"black_box", "reconstruction"}``: macro AUROC with its 95 % patient-bootstrap interval, as
        :func:`neuroconcepts_ray.classifier.evaluate.evaluate` gives it; ``{"top", "random"}``: macro AUROC by m.
    """
    influence = head.W.astype(np.float64) @ W_dec.astype(np.float64).T
    constant = head.W.astype(np.float64) @ b_dec + head.b

    def with_latents(kept: Float[np.ndarray, "l n"]) -> Float[np.ndarray, "h l"]:
        logits: Float[np.ndarray, "h l"] = z @ (influence * kept).T + constant
        return logits

    raw = x.astype(np.float64) @ head.W.T.astype(np.float64) + head.b
    through = with_latents(np.ones_like(influence))
    rank = np.abs(influence) * mean_z
    drawn = np.random.default_rng(0).random(influence.shape) * (mean_z > 0)

    def told(logits: Float[np.ndarray, "h l"]) -> dict[str, Any]:
        macro: dict[str, Any] = evaluate(logits, y, groups, head.labels, head.task)["macro"]
        return macro

    return {
        "black_box": told(raw),
        "reconstruction": told(through),
        "top": {str(m): macro_auroc(with_latents(keep_top(rank, m)), y, head.task) for m in TOPS},
        "random": {str(m): macro_auroc(with_latents(keep_top(drawn, m)), y, head.task) for m in TOPS},
    }
