"""Whether the images that fire a latent resemble each other: the MonoSemanticity score by its closed form."""

import numpy as np
from jaxtyping import Float
from scipy import sparse


def unit_rows(x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
    """Rows, centred over the images and scaled to unit norm; a row at the mean stays zero.

    Centred, because activations after a ReLU share one large direction by which any two images are alike.
    """
    centred = x - x.mean(axis=0, dtype=np.float64)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: Float[np.ndarray, "m d"] = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
    return unit


def monosemanticity(z: sparse.csr_array, e: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " n"]:
    """Mean cosine of all pairs of images, each weighted by the product of the latent's activations in both.

    The score of Pach et al. (2025, arXiv:2504.02821), Σ_{i≠j} aᵢaⱼ eᵢ·eⱼ / Σ_{i≠j} aᵢaⱼ, without the loop over pairs:
    (‖Σ aᵢeᵢ‖² − Σ aᵢ²‖eᵢ‖²) / ((Σ aᵢ)² − Σ aᵢ²). It is unchanged where a latent's activations are scaled.

    Args:
        z: Codes, one row an image, non-negative.
        e: Embeddings of the images, such as :func:`unit_rows` of the activations.

    Returns:
        One score a latent, in [−1, 1]; NaN where it fires for fewer than two images.
    """
    a = sparse.csr_array(z, dtype=np.float64)
    squares = a.multiply(a).T
    total = np.asarray(a.sum(axis=0)).ravel()
    own = np.asarray(squares.sum(axis=1)).ravel()
    pairs = np.square(a.T @ e).sum(axis=1) - squares @ np.square(e).sum(axis=1)
    enough = np.asarray((a > 0).sum(axis=0)).ravel() >= 2
    score: Float[np.ndarray, " n"] = np.full(a.shape[1], np.nan)
    score[enough] = pairs[enough] / (np.square(total) - own)[enough]
    return score
